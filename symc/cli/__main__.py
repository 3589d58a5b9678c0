"""`python -m symc.cli`."""

import sys

from symc.cli.main import main

sys.exit(main())
