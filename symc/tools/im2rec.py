"""MXNet's script of this name, as `symc im2rec` does it: `python im2rec.py prefix root --list`; old files go."""

import sys

from symc.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["im2rec", *sys.argv[1:], "--force"]))
