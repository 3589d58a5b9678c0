"""Runs MXNet's own unit tests against symc: `python -m tests.upstream FOLDER`."""
