"""Reading and writing at computed positions, order, sequences."""

from . import indexing as indexing
from . import indexing_nd as indexing_nd
from . import ordering as ordering
from . import sequence as sequence
from . import sparse as sparse
