"""The meters. Each of them watches one cell in a fresh process."""
