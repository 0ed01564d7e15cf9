"""The meters: each watches one cell in a fresh process of its own."""
