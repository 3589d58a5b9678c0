"""The command line: one file a verb; `main` parses, runs the verb, and turns its report or error into output."""
