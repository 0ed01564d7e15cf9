"""Results for a terminal, from 80 columns on: rich renderables, pure functions of results."""
