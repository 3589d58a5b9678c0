"""Losses of sequences whose labels have no places: CTCLoss, and WarpCTC of the plugin before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from symc.core.errors import ParameterError, ShapeError
from symc.core.shapes import Shape, mx_text, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Node, Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, declares_parameters, op, param, same_dtype
from symc.loopir.ctc import CtcForward, CtcOccupation
from symc.loopir.expr import Expr, IndexLike, cast, index_value, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.floats import require_float
from symc.ops.rules.terms import Term, flows


@dataclass(frozen=True)
class Alignment:
    """What a loss is made of: log probabilities (T, N, C), labels (N, L) int32, their lengths and those of the
    sequences (N,) int32, and the class that is blank."""

    logs: Term
    labels: Term
    lengths: Term
    label_lengths: Term
    blank: int
    drops_blanks: bool = False

    def forward(self) -> Node:
        """Costs (N,), forward probabilities and numbers of steps."""
        g, ins = self.logs.g, (self.logs, self.labels, self.lengths, self.label_lengths)
        return g.node("_ctc_forward", *(t.value for t in ins), blank=self.blank, drops_blanks=self.drops_blanks)

    def gradient(self) -> Term:
        """Of every cost with respect to its sequence before the softmax, (T, N, C)."""
        _, alphas, steps = (Term(self.logs.g, self.forward()[k]) for k in range(3))
        ins = self.labels, self.label_lengths, alphas, steps
        occupation = self.logs("_ctc_occupation", *ins, blank=self.blank, drops_blanks=self.drops_blanks)
        return self.logs("_ctc_gradient", occupation, steps)


def _require_classes(rule: Op, data: Shape | None) -> None:
    """Raises ShapeError where the last axis of the data is empty: one class is blank."""
    if data is not None and data[-1] == 0:
        raise ShapeError(f"{rule.name}: data of shape {mx_text(data)} has no classes, expected the blank one at least")


@op("CTCLoss", aliases=("ctc_loss", "_contrib_CTCLoss", "_contrib_ctc_loss"))
class CTCLoss(Op):
    """-log of the probability of labels (N, L), summed over all alignments with data (T, N, C) before softmax: (N,).

    blank_label first: class 0 is blank, and the first 0 ends the labels; last: the last class is, and -1 ends them.
    Lengths (N,) of sequences and of labels say otherwise.  Labels that need more steps than there are cost 0, as in
    MXNet, with gradient 0.  The hidden output is the gradient.  Source: MXNet operator CTCLoss.
    """

    arguments = ("data", "label", "data_lengths", "label_lengths")
    results = ("output0", "output1")

    use_data_lengths: bool = param(False, doc="whether lengths of the sequences are given")
    use_label_lengths: bool = param(False, doc="whether lengths of the labels are given")
    blank_label: str = param("first", choices=("first", "last"), doc="which class is blank")

    def argument_names(self) -> tuple[str, ...]:
        uses = {"data_lengths": self.use_data_lengths, "label_lengths": self.use_label_lengths}
        return tuple(name for name in self.arguments if uses.get(name, True))

    def n_visible(self) -> int:
        return 1

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, label = ins[:2]
        check_rank(data, 3, 3, f"{self.name}: data")
        check_rank(label, 2, 2, f"{self.name}: label")
        _require_classes(self, data)
        steps, n, classes = data or (None, None, None)
        n = next((s[0] for s in (label, *ins[2:], outs[0]) if s is not None and n is None), n)
        data, label = unify(data, (steps, n, classes)), unify(label, (n, None))
        if label is not None and steps is not None and label[1] is not None and label[1] > steps:
            raise ShapeError(
                f"{self.name}: The max number of labels cannot exceed the maximum sequence length of the data: "
                f"{label[1]} labels, {steps} steps"
            )
        lengths = [unify(s, (n,)) for s in ins[2:]]
        return [data, label, *lengths], [unify((n,), outs[0]), unify(data, outs[1])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], *outs))
        require_float(self, dtype)
        return [dtype, *(d or dtype for d in ins[1:])], [dtype, dtype]

    def alignment(self, g: GraphBuilder, x: Sequence[Value]) -> Alignment:
        """The data and labels as the kernels want them."""
        given = dict(zip(self.argument_names(), (Term(g, v) for v in x)))
        logs = given["data"].wide()("log_softmax", axis=-1)
        n_steps, n, n_classes = logs.shape
        labels = given["label"].cast("int32")
        n_labels = labels.shape[1]
        is_first = self.blank_label == "first"

        def length(name: str, most: int) -> Term | None:
            return given[name].cast("int32")("clip", a_min=0.0, a_max=float(most)) if name in given else None

        lengths = length("data_lengths", n_steps) or Term(g, g.full((n,), "int32", n_steps))
        label_lengths = length("label_lengths", n_labels) or labels("_first_position", value=0 if is_first else -1)
        return Alignment(logs, labels, lengths, label_lengths, 0 if is_first else n_classes - 1)

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        alignment, dtype = self.alignment(g, x), g.dtype(x[0])
        return [Term(g, alignment.forward()[0]).cast(dtype).value, alignment.gradient().cast(dtype).value]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        head = Term(g, flows(dy[:1]))
        d = self.alignment(g, x).gradient().cast(head.dtype)
        return [(d * head.reshape((1, *head.shape, 1))).value, *[None] * (len(x) - 1)]


@op("WarpCTC")
class WarpCTC(Op):
    """The softmax of data (T * N, C); its gradient is that of CTC with labels (N * label_length,), whatever comes from
    above.  Class 0 is blank, and zeros among the labels do not count.

    Source: MXNet's plugin warpctc.
    """

    arguments = ("data", "label")
    is_loss = True

    label_length: int = param(0, doc="labels of a sequence")
    input_length: int = param(0, doc="steps of a sequence")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = unify(ins[0], outs[0])
        check_rank(data, 2, 2, f"{self.name}: data")
        _require_classes(self, data)
        if data is None or data[0] is None:
            return [data, ins[1]], [data]
        if self.input_length < 1 or data[0] % self.input_length or self.label_length < 1:
            raise ParameterError(
                f"{self.name}: expected a positive label_length and an input_length that divides the {data[0]} rows of "
                f"data, got label_length={self.label_length}, input_length={self.input_length}"
            )
        return [data, unify(ins[1], (self.label_length * (data[0] // self.input_length),))], [data]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], *outs))
        return [dtype, ins[1] or "int32"], [dtype]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        return [g("softmax", x[0], axis=-1)]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        data, shape = Term(g, x[0]), g.shape(x[0])
        n = shape[0] // self.input_length
        logs = data.reshape((self.input_length, n, shape[1])).wide()("log_softmax", axis=-1)
        labels = Term(g, x[1]).cast("int32").reshape((n, self.label_length))
        counts = [Term(g, g.full((n,), "int32", k)) for k in (self.input_length, self.label_length)]
        alignment = Alignment(logs, labels, *counts, blank=0, drops_blanks=True)
        return [alignment.gradient().reshape(shape).cast(data.dtype).value, None]


@op("_first_position")
class FirstPosition(Op):
    """Of each row (N, L) the first position of a value, or L: int32 (N,)."""

    is_internal = True

    value: int = param(doc="what is looked for")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [None if ins[0] is None else ins[0][:1]]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, ["int32"]

    def lower(self, t: Lowering) -> None:
        (x,) = t.ins
        length = x.shape[1]

        def element(n: IndexLike) -> Expr:
            first = t.reduce(
                "min", (length,), lambda k: select(prim("eq", x(n, k), self.value), index_value(k), length)
            )
            return cast(first, "int32")

        t.map(element)


@declares_parameters
class CtcStep(Op):
    """What the two directions share."""

    is_internal = True

    blank: int = param(doc="the class that is blank")
    drops_blanks: bool = param(doc="whether it is left out where it is among the labels")


@op("_ctc_forward")
class CtcCosts(CtcStep):
    """See loopir.ctc.CtcForward."""

    arguments = ("logs", "labels", "lengths", "label_lengths")
    results = ("costs", "alphas", "steps")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (n_steps, n, _), (_, n_labels) = ins[:2]  # type: ignore[misc]
        return ins, [(n,), (n, n_steps, 2 * n_labels + 1), (n,)]  # type: ignore[operator]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [ins[0], "float64", "int32"]

    def lower(self, t: Lowering) -> None:
        t.template(CtcForward(self.blank, self.drops_blanks))


@op("_ctc_occupation")
class CtcClasses(CtcStep):
    """See loopir.ctc.CtcOccupation."""

    arguments = ("logs", "labels", "label_lengths", "alphas", "steps")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [ins[0]]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [ins[0]]

    def lower(self, t: Lowering) -> None:
        t.template(CtcOccupation(self.blank, self.drops_blanks))


@op("_ctc_gradient")
class CtcGradient(Op):
    """Log probabilities (T, N, C), occupation (T, N, C) and numbers of steps (N,) -> their difference; 0 afterwards."""

    arguments = ("logs", "occupation", "steps")
    is_internal = True

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [ins[0]]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [ins[0]]

    def lower(self, t: Lowering) -> None:
        logs, occupation, steps = t.ins

        def element(s: IndexLike, n: IndexLike, c: IndexLike) -> Expr:
            is_inside = prim("lt", index_value(s), cast(steps(n), "int64"))
            return select(is_inside, prim("exp", logs(s, n, c)) - occupation(s, n, c), 0.0)

        t.map(element)
