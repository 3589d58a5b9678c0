"""The operators of symc, one class each, grouped in family files; importing this package registers all of them."""

from . import activation as activation
from . import attention as attention
from . import batch_norm as batch_norm
from . import binary as binary
from . import convolution as convolution
from . import creation as creation
from . import dense as dense
from . import elementwise as elementwise
from . import indexing as indexing
from . import indexing_nd as indexing_nd
from . import linalg as linalg
from . import loss as loss
from . import movement as movement
from . import norm as norm
from . import ordering as ordering
from . import padding as padding
from . import pooling as pooling
from . import random as random
from . import rearrange as rearrange
from . import reduce as reduce
from . import reshape as reshape
from . import sequence as sequence
from . import slicing as slicing
from . import softmax as softmax
from . import statistics as statistics
from . import vision as vision
