"""The operators of symc, one class each, in family files; importing this package registers all of them.

`rules` has what families share.
"""

from . import control as control
from . import index as index
from . import math as math
from . import nn as nn
from . import optimizer as optimizer
from . import quantized as quantized
from . import random as random
from . import shape as shape
from . import vision as vision
