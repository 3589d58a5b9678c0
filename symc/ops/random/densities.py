"""Probability densities of given samples: `_random_pdf_x`, the densities of the distributions in `distributions`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

from symc.core.errors import ShapeError
from symc.core.shapes import Shape, unify
from symc.ir.op import Shapes, check_rank, declares_parameters, op, param
from symc.ops.rules.composite import Composite
from symc.ops.rules.shapes import unify_all
from symc.ops.rules.terms import Term


@declares_parameters
class Density(Composite):
    """sample (*p, *block), parameters (*p) -> (*p, *block): the density, or its logarithm, under each parameter.

    Gradients are those of the formula; of discrete and uniform distributions the sample has none.
    """

    log_density: ClassVar[Callable[..., Term]]
    follows_sample: ClassVar[bool] = True  # the gradient reaches the sample

    is_log: bool = param(False, doc="whether to give the logarithm of the density")

    def parameter_shape(self, sample: Shape, rank: int) -> Shape:
        """The shape of parameters of a rank; raises ShapeError when the sample has fewer axes."""
        if rank > len(sample):
            raise ShapeError(
                f"dimension of input samples ({len(sample)}) must be at least dimension of distribution parameters "
                f"({rank})"
            )
        return sample[:rank]

    def density_shape(self, sample: Shape) -> Shape:
        """The shape of the densities."""
        return sample

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        sample, *parameters = ins
        if sample is None or any(p is None for p in parameters):
            return ins, outs
        shape = unify_all(parameters)
        assert shape is not None
        shape = unify(shape, self.parameter_shape(sample, len(shape)))
        return [sample, *(shape for _ in parameters)], [unify(self.density_shape(sample), outs[0])]

    def aligned(self, parameter: Term, rank: int) -> Term:
        """A parameter that broadcasts against samples of a rank."""
        return parameter.reshape((*parameter.shape, *(1 for _ in range(rank - len(parameter.shape)))))

    def compose(self, *x: Term) -> Sequence[Term]:
        sample = x[0] if self.follows_sample else x[0]("BlockGrad")
        log = type(self).log_density(sample.wide(), *(self.aligned(p, len(sample.shape)).wide() for p in x[1:]))
        density = (log if self.is_log else log("exp")).cast(x[0].dtype)
        return [density.broadcast_to(self.density_shape(x[0].shape))]  # type: ignore[arg-type]


def _uniform(x: Term, low: Term, high: Term) -> Term:
    """As in MXNet also outside [low, high]."""
    return -(high - low)("log")


def _normal(x: Term, mu: Term, sigma: Term) -> Term:
    z = (x - mu) / sigma
    return z * z * -0.5 - (sigma * math.sqrt(2 * math.pi))("log")


def _gamma(x: Term, alpha: Term, beta: Term) -> Term:
    """`beta` is a rate here, though the random numbers have it as scale (as in MXNet)."""
    return alpha * beta("log") + (alpha - 1) * x("log") - beta * x - alpha("gammaln")


def _exponential(x: Term, lam: Term) -> Term:
    return lam("log") - lam * x


def _poisson(x: Term, lam: Term) -> Term:
    return x * lam("log") - (x + 1)("gammaln") - lam


def _negative_binomial(x: Term, k: Term, p: Term) -> Term:
    ways = (x + k)("gammaln") - (x + 1)("gammaln") - k("gammaln")
    return ways + k * p("log") + x * (1 - p)("log")


def _generalized_negative_binomial(x: Term, mu: Term, alpha: Term) -> Term:
    return _negative_binomial(x, 1 / alpha, 1 / (mu * alpha + 1))


def _density(name: str, parameters: str, formula: Callable[..., Term], follows_sample: bool) -> None:
    """Registers the density of a distribution with the parameters "name name"."""
    body = {
        "arguments": ("sample", *parameters.split()),
        "log_density": staticmethod(formula),
        "follows_sample": follows_sample,
        "__doc__": f"The density of the {name.replace('_', ' ')} distribution.  MXNet operator _random_pdf_{name}.",
        "__module__": __name__,
    }
    op(f"_random_pdf_{name}", (f"random_pdf_{name}",))(type(f"Pdf_{name}", (Density,), body))


_density("uniform", "low high", _uniform, False)
_density("normal", "mu sigma", _normal, True)
_density("gamma", "alpha beta", _gamma, True)
_density("exponential", "lam", _exponential, True)
_density("poisson", "lam", _poisson, False)
_density("negative_binomial", "k p", _negative_binomial, False)
_density("generalized_negative_binomial", "mu alpha", _generalized_negative_binomial, False)


@op("_random_pdf_dirichlet", aliases=("random_pdf_dirichlet",))
class DirichletDensity(Density):
    """sample (*p, *block, k), alpha (*p, k) -> (*p, *block): the density of the Dirichlet distribution.

    MXNet operator _random_pdf_dirichlet.
    """

    arguments = ("sample", "alpha")

    def parameter_shape(self, sample: Shape, rank: int) -> Shape:
        check_rank(sample, 1, None, f"{self.name}: sample")
        return (*super().parameter_shape(sample, rank)[:-1], sample[-1])

    def density_shape(self, sample: Shape) -> Shape:
        return sample[:-1] or (1,)

    def aligned(self, parameter: Term, rank: int) -> Term:
        *lead, k = parameter.shape
        return parameter.reshape((*lead, *(1 for _ in range(rank - len(lead) - 1)), k))

    @staticmethod
    def log_density(x: Term, alpha: Term) -> Term:
        def total(terms: Term) -> Term:
            return terms.sum([len(terms.shape) - 1]).reshape(terms.shape[:-1] or (1,))

        return total((alpha - 1) * x("log")) + total(alpha)("gammaln") - total(alpha("gammaln"))
