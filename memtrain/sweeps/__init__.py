"""Sweeps: ranges, the grid of cells, its measurement, and the store of rows."""
