"""Pure functions of results that write them as text: terminal, CSV, JSON, markdown, HTML."""
