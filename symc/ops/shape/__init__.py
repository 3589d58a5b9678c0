"""Elements that change place or shape, and arrays that are made."""

from . import assign as assign
from . import creation as creation
from . import movement as movement
from . import padding as padding
from . import rearrange as rearrange
from . import reshape as reshape
from . import slicing as slicing
