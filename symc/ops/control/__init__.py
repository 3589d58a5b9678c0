"""Operators whose nodes run graphs of their own or Python code."""

from . import call as call
from . import custom as custom
from . import iterate as iterate
from . import structured as structured
