"""Functions that write answers: for the terminal, as CSV, JSON, markdown, HTML, SVG, and as pictures."""
