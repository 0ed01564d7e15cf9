"""Cells and rows: one point of a sweep, with all that is known of it."""
