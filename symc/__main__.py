"""`python -m symc`: the command `symc`."""

import sys

from symc.cli.main import main

sys.exit(main())
