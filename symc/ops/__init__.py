"""The operators of symc, one class each, grouped in family files; importing this package registers all of them."""

from . import binary as binary
from . import creation as creation
from . import elementwise as elementwise
from . import movement as movement
from . import padding as padding
from . import reduce as reduce
from . import reshape as reshape
from . import slicing as slicing
