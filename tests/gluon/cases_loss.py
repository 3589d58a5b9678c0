"""Every loss: its name and text, its values operator by operator and hybridized, and the gradient of the prediction."""

from __future__ import annotations

import numpy as np


def loss(make, label, *more, shape=(3, 4), positive=False, recorded=True, traced=True):
    """A case: the loss made by `make(loss module)`, over a prediction, a label and further arrays."""

    def run(mx, folder):
        block = make(mx.gluon.loss)
        rng = np.random.RandomState(5)
        pred = mx.nd.array(rng.uniform(0.1, 0.9, size=shape) if positive else rng.normal(size=shape))
        rest = [None if x is None else mx.nd.array(x) for x in (label(rng), *more)]
        pred.attach_grad()
        found = {"repr": repr(block), "prefix": block.prefix}
        for is_hybrid in (False, True):
            if is_hybrid and not traced:
                break
            block.hybridize(is_hybrid)
            with mx.autograd.record() if recorded else mx.autograd.pause():
                value = block(pred, *rest)
            found[f"value {is_hybrid}"] = [list(value.shape), value]
            if recorded:
                value.backward()
                found[f"gradient {is_hybrid}"] = pred.grad.reshape(-1)
        return found

    return run


def normal(rng):
    return rng.normal(size=(3, 4))


def signs(rng):
    return np.where(rng.normal(size=(3, 4)) > 0, 1, -1)


def bits(rng):
    return (rng.normal(size=(3, 4)) > 0) * 1.0


def classes(rng):
    return rng.randint(0, 4, 3)


def shares(rng):
    x = rng.uniform(0.1, 1, size=(3, 4))
    return x / x.sum(axis=1, keepdims=True)


WEIGHTS = [[1.0], [0.5], [2.0]]

CASES = {
    "L2": loss(lambda m: m.L2Loss(), normal),
    "L2 weighted": loss(lambda m: m.L2Loss(weight=3.0), normal, WEIGHTS),
    "L1": loss(lambda m: m.L1Loss(batch_axis=1), normal),
    "BCE": loss(lambda m: m.SigmoidBCELoss(), bits),
    "BCE pos_weight": loss(lambda m: m.SigmoidBCELoss(), bits, WEIGHTS, [[2.0, 1.0, 0.5, 1.0]]),
    "BCE sigmoid": loss(lambda m: m.SigmoidBCELoss(from_sigmoid=True), bits, None, [[2.0]], positive=True),
    "CE": loss(lambda m: m.SoftmaxCELoss(), classes),
    "CE weighted": loss(lambda m: m.SoftmaxCELoss(weight=0.5), classes, WEIGHTS),
    "CE dense": loss(lambda m: m.SoftmaxCELoss(sparse_label=False), shares),
    "CE logits": loss(lambda m: m.SoftmaxCELoss(from_logits=True, axis=1), classes),
    "KL": loss(lambda m: m.KLDivLoss(from_logits=False), shares),
    "Huber": loss(lambda m: m.HuberLoss(rho=0.7), normal),
    "Hinge": loss(lambda m: m.HingeLoss(), signs),
    "SquaredHinge": loss(lambda m: m.SquaredHingeLoss(margin=2), signs),
    "Logistic": loss(lambda m: m.LogisticLoss(), signs),
    "Logistic binary": loss(lambda m: m.LogisticLoss(label_format="binary"), bits),
    "Triplet": loss(lambda m: m.TripletLoss(), normal, normal(np.random.RandomState(6))),
    "Poisson": loss(lambda m: m.PoissonNLLLoss(), shares),
    "Poisson full": loss(  # MXNet multiplies in place, which it neither records nor traces
        lambda m: m.PoissonNLLLoss(from_logits=False, compute_full=True),
        lambda r: 3 * shares(r) + 0.5,
        positive=True,
        recorded=False,
        traced=False,
    ),
    "Cosine": loss(lambda m: m.CosineEmbeddingLoss(margin=0.1), normal, [1, -1, -1]),
    "SDML": loss(lambda m: m.SDMLLoss(), normal, traced=False),
}
