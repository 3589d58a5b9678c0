"""Replays what the real MXNet computed: `python -m tests.conformance ops|nets|models|train|api|legacy|threads`."""
