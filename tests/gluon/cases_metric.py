"""Every metric over two batches: name, value, global value, after a local reset, and what makes an equal one."""

from __future__ import annotations

import numpy as np

try:
    from recorded import refusal  # by MXNet's Python
except ImportError:
    from .recorded import refusal


def metric(make, kind="classes", n_classes=4, has_global=True):
    """A case: the metric made by `make(metric module)`, over batches of a kind."""

    def run(mx, folder):
        rng = np.random.RandomState(9)
        made = make(mx.metric)
        found = {"text": str(made), "empty": made.get()}
        for k in range(3):
            if kind == "numbers":
                label, pred = rng.normal(size=6), rng.normal(size=6)
            else:
                label = rng.randint(0, n_classes, 6)
                pred = rng.uniform(0.05, 1, size=(6, n_classes)) + np.eye(n_classes)[label] * 0.4
                pred /= pred.sum(axis=1, keepdims=True)
            made.update([mx.nd.array(label)], [mx.nd.array(pred)])
            found[f"after {k}"] = [made.get(), made.get_name_value()]
            if has_global:  # MXNet's is always 0 for the correlation of all examples
                found[f"after {k}"] += [made.get_global(), made.get_global_name_value()]
            if k == 1:
                made.reset_local()
                found["local"] = made.get(), made.get_global() if has_global else None
        if not isinstance(made, mx.metric.CustomMetric):
            found["config"] = made.get_config()
        made.reset()
        found["reset"] = [made.get(), made.get_global()]
        return found

    return run


def largest(label, pred):
    return float(pred.max() - label.max())


def pair(label, pred):
    return float(pred.sum()), len(label)


def names(mx, folder):
    """Metrics by name, and arrays by name."""
    found = {}
    for name in "acc accuracy ce f1 mcc mae mse rmse nll_loss pearsonr pcc loss torch caffe composite".split():
        found[name] = type(mx.metric.create(name)).__name__, mx.metric.create(name).name
    chosen = mx.metric.Accuracy(output_names=["b"], label_names=["y"])
    arrays = {"a": mx.nd.array([0, 0]), "b": mx.nd.array([1, 0])}
    chosen.update_dict({"y": mx.nd.array([1, 1]), "z": mx.nd.array([0, 0])}, arrays)
    found["chosen"] = chosen.get()
    found["custom"] = mx.metric.create(lambda label, pred: 1.0).name, mx.metric.np(lambda label, pred: 1.0).name
    found["unknown"] = refusal(mx.metric.create, "nothing")[0]
    x, y = mx.nd.zeros((2, 3)), mx.nd.zeros(3)
    found["refused"] = [
        refusal(mx.metric.Accuracy().update, [y, y], [x]),
        refusal(mx.metric.Accuracy().update, [y], [x]),
        refusal(mx.metric.F1().update, [mx.nd.array([0, 1, 2])], [mx.nd.zeros((3, 2))])[0],
        refusal(mx.metric.TopKAccuracy, 1),
    ]
    return found


def cancelling(mx, folder):
    """Sums that float32 would lose, of a metric that is there and of one that a script defines."""

    class OfScript(mx.metric.EvalMetric):
        def update(self, labels, preds):
            self.sum_metric += preds[0].asscalar()
            self.num_inst += 1

    found = []
    for made in mx.metric.Loss(), OfScript("own"):
        for loss in 1e8, 1.0, -1e8:
            made.update([], [mx.nd.array([loss])])
        found.append([made.get(), isinstance(made.get()[1], float)])
    return found


def column(mx, folder):
    """The correlation of labels (N, 1)."""
    made = mx.metric.PCC()
    label = np.random.RandomState(3).randint(0, 3, (6, 1))
    made.update([mx.nd.array(label)], [mx.nd.array(np.eye(3)[(label[:, 0] + [0, 1, 0, 0, 2, 0]) % 3])])
    return made.get()


CASES = {
    "names": names,
    "accuracy": metric(lambda m: m.Accuracy()),
    "top k": metric(lambda m: m.create("top_k_acc", top_k=2)),
    "f1": metric(lambda m: m.F1(), n_classes=2),
    "f1 micro": metric(lambda m: m.F1(average="micro"), n_classes=2),
    "mcc": metric(lambda m: m.MCC(), n_classes=2),
    "mcc micro": metric(lambda m: m.MCC(average="micro"), n_classes=2),
    "pcc": metric(lambda m: m.PCC()),
    "pcc of a column": column,
    "perplexity": metric(lambda m: m.Perplexity(None)),
    "perplexity ignoring": metric(lambda m: m.Perplexity(ignore_label=1)),
    "cross-entropy": metric(lambda m: m.CrossEntropy()),
    "nll": metric(lambda m: m.NegativeLogLikelihood(eps=1e-3)),
    "mae": metric(lambda m: m.MAE(), "numbers"),
    "mse": metric(lambda m: m.MSE(), "numbers"),
    "rmse": metric(lambda m: m.RMSE(name="r"), "numbers"),
    "pearson": metric(lambda m: m.PearsonCorrelation(), "numbers"),
    "pearson micro": metric(lambda m: m.PearsonCorrelation(average="micro"), "numbers", has_global=False),
    "loss": metric(lambda m: m.Loss(), "numbers"),
    "custom": metric(lambda m: m.np(largest), "numbers"),
    "custom pair": metric(lambda m: m.CustomMetric(pair, allow_extra_outputs=True), "numbers"),
    "cancelling": cancelling,
    "composite": metric(lambda m: m.create(["acc", "ce", m.CompositeEvalMetric(["nll_loss"])])),
}
