"""Replays what the real MXNet 1.9.1 computed: `python -m tests.conformance ops|nets|models|train|legacy|threads`."""
