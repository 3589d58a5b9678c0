"""The upstream tests that do not pass, each with the reason."""

NOT_PASSING: dict[str, str] = {}
