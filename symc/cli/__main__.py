"""`python -m symc.cli`."""

import sys

from .main import main

sys.exit(main())
