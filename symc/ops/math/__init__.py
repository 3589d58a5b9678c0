"""Arithmetic, reductions, matrix products and factorisations."""

from . import binary as binary
from . import dense as dense
from . import elementwise as elementwise
from . import factorize as factorize
from . import hawkes as hawkes
from . import linalg as linalg
from . import reduce as reduce
from . import statistics as statistics
from . import transforms as transforms
