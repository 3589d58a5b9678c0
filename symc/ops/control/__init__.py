"""Operators whose nodes hold bodies: graphs that they run."""

from . import call as call
from . import iterate as iterate
