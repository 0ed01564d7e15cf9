"""Conclusions from cells: laws, capacity, ways to hold less, and comparisons."""
