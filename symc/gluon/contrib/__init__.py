"""`mx.gluon.contrib`: contributed parts of Gluon."""

from . import cnn, data, estimator, nn, rnn

__all__ = ["cnn", "data", "estimator", "nn", "rnn"]
