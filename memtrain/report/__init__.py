"""Pure functions of results: terminal, CSV, JSON."""
