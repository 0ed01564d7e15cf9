"""The command line: one file per command. Parse, call, show; no logic."""
