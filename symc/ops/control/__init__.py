"""Operators whose nodes hold bodies: graphs that they run."""

from . import call as call
