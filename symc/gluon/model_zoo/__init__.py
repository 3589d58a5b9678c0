"""`mx.gluon.model_zoo`: known networks, by themselves or with trained weights."""

from . import model_store, vision

__all__ = ["model_store", "vision"]
