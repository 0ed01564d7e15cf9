"""The command line: one file per command. A command parses its options, asks for an answer, and shows it."""
