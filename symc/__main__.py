"""The command `symc`, also as `python -m symc`: Ctrl-C ends it quietly, its imports included."""

import signal
import sys

from symc.core.undisturbed import imported

INTERRUPTED = 130


def main() -> int:
    """What the console script calls; gives the exit code."""
    try:
        return imported("symc.cli.main").main()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # another ends it at once, while Python waits for its threads
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
