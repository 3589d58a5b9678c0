"""`mx.gluon.contrib`: contributed parts of Gluon."""

from . import nn, rnn

__all__ = ["nn", "rnn"]
