"""The command `symc`, also as `python -m symc`: Ctrl-C ends it quietly, its imports included."""

import sys

from symc.core.undisturbed import imported

INTERRUPTED = 130


def main() -> int:
    """What the console script calls; gives the exit code."""
    try:
        return imported("symc.cli.main").main()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
