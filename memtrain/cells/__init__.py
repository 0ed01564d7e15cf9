"""Cells and rows: one point of a sweep, and what is known of it."""
