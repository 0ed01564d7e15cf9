"""Cells and rows: one point of a sweep, and all its figures."""
