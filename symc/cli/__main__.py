"""`python -m symc.cli`, the same as `python -m symc`."""

import sys

from .main import main

sys.exit(main())
