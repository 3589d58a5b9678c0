"""`mx.metric`: how good predictions are, added up over batches.

metric = mx.metric.create(["acc", "ce"])
metric.update(labels=[label], preds=[probabilities])    # for each batch
print(metric.get())                                     # (["accuracy", "cross-entropy"], [0.5, 0.69])
"""

from .base import EvalMetric, alias, check_label_shapes, register
from .classification import F1, MCC, PCC, Accuracy, TopKAccuracy
from .composite import CompositeEvalMetric, CustomMetric, create, np
from .probability import Caffe, CrossEntropy, Loss, NegativeLogLikelihood, Perplexity, Torch
from .regression import MAE, MSE, RMSE, PearsonCorrelation

__all__ = [
    "Accuracy", "Caffe", "CompositeEvalMetric", "CrossEntropy", "CustomMetric", "EvalMetric", "F1", "Loss", "MAE",
    "MCC", "MSE", "NegativeLogLikelihood", "PCC", "PearsonCorrelation", "Perplexity", "RMSE", "TopKAccuracy", "Torch",
    "alias", "check_label_shapes", "create", "np", "register",
]  # fmt: skip
