"""Updates of weights."""

from . import updates as updates
