"""`mx.gluon.contrib.data`: contributed samplers, and texts."""

from . import sampler, text
from .sampler import IntervalSampler

__all__ = ["IntervalSampler", "sampler", "text"]
