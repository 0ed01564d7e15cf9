"""Ranges, the grid of cells, its measurement, the store of rows, and the law they follow."""
