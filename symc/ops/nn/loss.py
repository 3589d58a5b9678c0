"""Output layers that bring their own gradient, and the losses made of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar

from symc.core.errors import ShapeError
from symc.core.shapes import Shape, is_known, mx_text, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Shapes, check_rank, declares_parameters, op, param
from symc.loopir.expr import Expr, IndexLike, cast, index_value, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.elementwise import Elementwise
from symc.ops.rules.floats import FloatData
from symc.ops.rules.numbers import number, single
from symc.ops.rules.terms import Term

from .softmax import log_weights, softmax_over

NORMALIZATIONS = ("batch", "null", "valid")


# -- softmax --------------------------------------------------------------------------------------------------------


@op("SoftmaxOutput", aliases=("Softmax",))
class SoftmaxOutput(FloatData):
    """softmax of the data; its gradient is that of the cross entropy with the labels, whatever comes from above.

    The softmax runs over axis 1 (multi_output), the last axis (preserve_shape) or all axes but the first together.
    data (N, C, *rest) and label (N, *rest) with multi_output; else label has data's shape without the last axis; a
    label of data's shape holds probabilities.  The gradient (output - onehot(label)) * grad_scale is divided by: null
    1 (multi_output: the number of spatial positions), batch N (multi_output: times the positions), valid the number of
    labels other than ignore_label.  Source: MXNet operator SoftmaxOutput.
    """

    arguments = ("data", "label")
    is_loss = True

    grad_scale: float = param(1.0, doc="factor of the gradient")
    ignore_label: float = param(-1.0, doc="the label that does not count")
    multi_output: bool = param(False, doc="softmax over axis 1, one label a position")
    use_ignore: bool = param(False, doc="no gradient where the label is ignore_label")
    preserve_shape: bool = param(False, doc="softmax over the last axis")
    normalization: str = param("null", choices=NORMALIZATIONS, doc="what divides the gradient")
    out_grad: bool = param(False, doc="multiply the gradient with the output (as MXNet 1.9 does by mistake)")
    smooth_alpha: float = param(0.0, low=0, high=1, doc="probability taken from the label and spread over the others")

    def axes(self, rank: int) -> tuple[int, ...]:
        """The axes the softmax runs over."""
        return (1,) if self.multi_output else (rank - 1,) if self.preserve_shape else tuple(range(1, rank))

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, label = unify(ins[0], outs[0]), ins[1]
        if data is None:
            return ins, outs
        check_rank(data, 2 if self.multi_output else 1, None, "SoftmaxOutput: data")
        if data == label:
            return [data, label], [data]
        if not self.multi_output:
            return [data, unify(label, data[:-1])], [data]
        spatial = prod(data[2:]) if is_known(data[2:]) else None  # type: ignore[arg-type]
        accepted: list[Shape] = [(data[0], spatial), (data[0], *data[2:]), (data[0], 1, *data[2:])]
        if label is None:
            return [data, accepted[0]], [data]
        if is_known(data) and is_known(label) and label not in accepted:
            raise ShapeError(f"Expecting {mx_text(accepted[0])} or {mx_text(accepted[1])}. But got {mx_text(label)}")
        return [data, label], [data]

    def lower(self, t: Lowering) -> None:
        softmax_over(t, self.axes(t.ins[0].rank))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        shape, label = g.shape(x[0]), Term(g, x[1])
        scale = single(self.grad_scale)
        output = Term(g, y[0])
        d = (output - label) * scale if label.shape == shape else self._from_classes(g, y[0], label, scale)
        return [(d * output if self.out_grad else d).value, None]

    def _from_classes(self, g: GraphBuilder, output: Value, label: Term, scale: float) -> Term:
        """The gradient from labels that number the classes."""
        shape = g.shape(output)
        axes = self.axes(len(shape))
        n_labels, n_positions = prod(label.shape), prod(shape[2:]) if self.multi_output else 1
        if self.normalization != "valid":
            scale = single(scale / max(1, n_positions))
        if self.normalization == "batch":
            scale = single(scale / max(1, shape[0] if self.multi_output else n_labels))
        if self.multi_output or self.preserve_shape:
            aligned = label.reshape(tuple(n for a, n in enumerate(shape) if a not in axes))
        else:
            aligned = label.reshape((n_labels,))
        alpha = 0.0 if self.multi_output else self.smooth_alpha
        d = Term(g, output)(
            "_softmax_output_gradient",
            aligned,
            axis=axes,
            scale=1.0 if self.normalization == "valid" else scale,
            smooth_alpha=alpha,
            ignore_label=self.ignore_label,
            use_ignore=self.use_ignore,
        )
        if self.normalization != "valid":
            return d
        is_valid = label.cast("int32")("_not_equal_scalar", scalar=int(self.ignore_label)).cast("float32")
        count = is_valid.sum(range(len(label.shape))).reshape((1,))("_maximum_scalar", scalar=1.0)
        return d * count("_rdiv_scalar", scalar=scale).cast(d.dtype).reshape((1,) * len(shape))


@op("_softmax_output_gradient")
class SoftmaxOutputGradient(Elementwise):
    """(output - onehot(label)) * scale: output of any shape, label with output's shape without the class axes.

    Several class axes count as one, flattened; then label is (at least N,).
    """

    arguments = ("output", "label")
    is_internal = True

    axis: tuple[int, ...] = param(doc="the class axes")
    scale: float = param(1.0, doc="factor of the gradient")
    smooth_alpha: float = param(0.0, doc="probability spread over the other classes")
    ignore_label: float = param(-1.0, doc="the label that gets no gradient")
    use_ignore: bool = param(False, doc="whether there is such a label")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(outs[0], ins[0])]

    def lower(self, t: Lowering) -> None:
        p, label = t.ins
        extents = [p.shape[a] for a in self.axis]
        dtype, alpha = p.dtype, single(self.smooth_alpha)

        def element(*i: IndexLike) -> Expr:
            rest = [n for a, n in enumerate(i) if a not in self.axis]
            wanted = cast(label(*rest), "int64")
            position = index_value(i[self.axis[0]])
            for a, extent in zip(self.axis[1:], extents[1:]):
                position = position * extent + index_value(i[a])
            is_label = prim("eq", position, wanted)
            target = select(is_label, number(1 - alpha, dtype), number(alpha / max(prod(extents) - 1, 1), dtype))
            d = (p(*i) - target) * number(self.scale, dtype)
            if not self.use_ignore:
                return d
            return select(prim("eq", wanted, number(int(self.ignore_label), "int64")), 0.0, d)

        t.map(element)


@op("softmax_cross_entropy")
class SoftmaxCrossEntropy(FloatData):
    """The cross entropy of softmax(data) and integer labels, summed over the batch.

    data (N, C), label (N,) -> (1,).  Source: MXNet operator softmax_cross_entropy (probabilities below 1e-8 count as
    1e-8; no gradient for the label).
    """

    arguments = ("data", "label")
    needs_elements = ("data",)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        check_rank(ins[0], 2, 2, "SoftmaxCrossEntropy: data")
        check_rank(ins[1], 1, 1, "SoftmaxCrossEntropy: label")
        if ins[0] is not None:
            ins = [ins[0], unify(ins[1], ins[0][:1])]
        return ins, [unify(outs[0], (1,))]

    def lower(self, t: Lowering) -> None:
        x, label = t.ins
        n, n_classes = x.shape

        def sample(k: IndexLike) -> Expr:
            wanted = prim("minimum", prim("maximum", cast(label(k), "int64"), 0), n_classes - 1)
            difference, total = log_weights(t, x, (n_classes,), (1,), (k, wanted))
            return -prim("log", prim("maximum", prim("exp", difference) / total, 1e-8))

        t.map(lambda _: t.reduce("sum", (n,), sample))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None, None]
        probability = g("softmax", x[0])
        d = Term(g, g("_softmax_output_gradient", probability, x[1], axis=(1,)))
        return [(d * Term(g, dy[0]).reshape((1, 1))).value, None]

    def refuses_gradient(self, argument: str, req: str) -> bool:
        return argument == "label"


# -- regression -----------------------------------------------------------------------------------------------------


@declares_parameters
class _RegressionOutput(FloatData, Elementwise):
    """data (N, *rest) passed through, with its own gradient times grad_scale / (elements of one sample).

    label has data's shape, or (N,) for data (N, 1); no gradient flows into it.
    """

    arguments: ClassVar[tuple[str, ...]] = ("data", "label")
    is_loss: ClassVar[bool] = True

    grad_scale: float = param(1.0, doc="factor of the gradient")

    def activation(self, x: Expr) -> Expr:
        """The output element."""
        return x

    def difference(self, output: Term, label: Term) -> Term:
        """The gradient before scaling."""
        return output - label

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, label = ins
        if not is_known(data):
            return ins, outs
        if label is None:
            label = data[:1] if data[1:] == (1,) else data  # type: ignore[index]
        elif is_known(label) and (label[:1] != data[:1] or prod(label) != prod(data)):  # type: ignore[index,arg-type]
            raise ShapeError(f"Shape inconsistent, Provided={mx_text(label)}, inferred shape={mx_text(data)}")
        return [data, label], [unify(outs[0], data)]

    def lower(self, t: Lowering) -> None:
        t.map(lambda *i: self.activation(t.ins[0](*i)))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        out = Term(g, y[0])
        scale = single(single(self.grad_scale) / max(prod(out.shape[1:]), 1))
        return [(self.difference(out, Term(g, x[1]).reshape(out.shape)) * scale).value, None]


@op("LinearRegressionOutput", aliases=("_sparse_LinearRegressionOutput",))
class LinearRegressionOutput(_RegressionOutput):
    """data itself; gradient data - label, of the squared error.  Source: MXNet operator LinearRegressionOutput."""


@op("LogisticRegressionOutput", aliases=("_sparse_LogisticRegressionOutput",))
class LogisticRegressionOutput(_RegressionOutput):
    """sigmoid(data); gradient sigmoid(data) - label, of the cross entropy.

    Source: MXNet operator LogisticRegressionOutput.
    """

    def activation(self, x: Expr) -> Expr:
        return prim("sigmoid", x)


@op("MAERegressionOutput", aliases=("_sparse_MAERegressionOutput",))
class MAERegressionOutput(_RegressionOutput):
    """data itself; gradient 1 where data > label, else -1, of the absolute error.

    Source: MXNet operator MAERegressionOutput.
    """

    def difference(self, output: Term, label: Term) -> Term:
        return (output > label) * 2 - 1


# -- other losses ---------------------------------------------------------------------------------------------------


@op("MakeLoss")
class MakeLoss(Elementwise):
    """data (*batch, C) itself as a loss: its gradient is grad_scale whatever comes from above, divided by the size of
    the batch (batch) or by the number of elements above valid_thresh, at least 1 (valid).  Source: MXNet operator
    MakeLoss, which takes all axes but the last for the batch (so a vector is a batch of 1).
    """

    is_loss = True

    grad_scale: float = param(1.0, doc="the gradient")
    valid_thresh: float = param(0.0, doc="elements above it count as valid")
    normalization: str = param("null", choices=NORMALIZATIONS, doc="what divides the gradient")

    def lower(self, t: Lowering) -> None:
        t.map(t.ins[0])

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        data, scale = Term(g, x[0]), single(self.grad_scale)
        if self.normalization != "valid":
            return [g.like(x[0], scale / max(1, prod(data.shape[:-1])) if self.normalization == "batch" else scale)]
        n_valid = (data > single(self.valid_thresh)).sum(range(len(data.shape)))("_maximum_scalar", scalar=1.0)
        return [(scale / n_valid).broadcast_to(data.shape).value]


@op("SVMOutput")
class SVMOutput(Elementwise):
    """data (N, C) itself; its gradient is that of the hinge loss with labels (N,), squared unless use_linear.

    Source: MXNet operator SVMOutput.
    """

    arguments = ("data", "label")
    is_loss = True

    margin: float = param(1.0, doc="how far outputs must be from 0")
    regularization_coefficient: float = param(1.0, doc="factor of the gradient")
    use_linear: bool = param(False, doc="the hinge loss itself instead of its square")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = unify(ins[0], outs[0])
        if data is None:
            return ins, outs
        return [data, unify(ins[1], data[:-1])], [data]

    def lower(self, t: Lowering) -> None:
        t.map(t.ins[0])

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [
            g(
                "_svm_output_gradient",
                y[0],
                x[1],
                margin=self.margin,
                use_linear=self.use_linear,
                regularization_coefficient=self.regularization_coefficient,
            ),
            None,
        ]


@op("_svm_output_gradient")
class SVMOutputGradient(Elementwise):
    """With s = 1 for the label's class and -1 for the others: -s where margin > s * output, else 0, times the
    coefficient; without use_linear also times 2 (margin - s * output).
    """

    arguments = ("output", "label")
    is_internal = True

    margin: float = param(doc="how far outputs must be from 0")
    regularization_coefficient: float = param(doc="factor of the gradient")
    use_linear: bool = param(doc="the hinge loss itself instead of its square")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(outs[0], ins[0])]

    def lower(self, t: Lowering) -> None:
        y, label = t.ins
        margin, factor = (number(single(v), y.dtype) for v in (self.margin, self.regularization_coefficient))

        def element(*i: IndexLike) -> Expr:
            is_label = prim("eq", index_value(i[-1]), cast(label(*i[:-1]), "int64"))
            output = y(*i)
            sign = select(is_label, number(1, y.dtype), number(-1, y.dtype))
            missing = margin - sign * output
            size = factor if self.use_linear else 2.0 * missing * factor
            return select(missing > 0.0, -sign * size, 0.0)

        t.map(element)
