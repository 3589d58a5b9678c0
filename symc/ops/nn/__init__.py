"""Layers of networks."""

from . import activation as activation
from . import attention as attention
from . import batch_norm as batch_norm
from . import columns as columns
from . import convolution as convolution
from . import ctc as ctc
from . import loss as loss
from . import norm as norm
from . import pooling as pooling
from . import recurrent as recurrent
from . import softmax as softmax
from . import sparseness as sparseness
