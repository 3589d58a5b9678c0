"""`python -m symc.as_mxnet`."""

import sys

from symc.as_mxnet import main

sys.exit(main())
