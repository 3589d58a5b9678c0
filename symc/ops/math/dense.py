"""Matrix products: FullyConnected, dot and batch_dot."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from symc.core.errors import ShapeError
from symc.core.shapes import FullShape, Shape, mx_text, size_of, unify, unify_extent
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op, Shapes, check_rank, op, param
from symc.loopir.expr import Expr, IndexLike
from symc.loopir.kernel import Window
from symc.loopir.tensor import Lowering
from symc.ops.rules.layers import Layer
from symc.ops.rules.terms import Term, scaled_parameters

STORAGE_TYPES = ("csr", "default", "row_sparse")


@op("FullyConnected", aliases=("_npx_fully_connected", "_sparse_FullyConnected"))
class FullyConnected(Layer):
    """data @ weight.T + bias.

    data (N, *rest) with flatten, (*lead, K) without; weight (num_hidden, K), where K is the product of rest;
    bias (num_hidden,) -> (N, num_hidden) or (*lead, num_hidden).  Source: MXNet operator FullyConnected.
    """

    arguments = ("data", "weight", "bias")
    trained = frozenset({"weight", "bias"})
    is_rowwise = True

    num_hidden: int = param(low=1, doc="rows of the weight")
    no_bias: bool = param(False, doc="drop the bias input")
    flatten: bool = param(True, doc="collapse all but the first axis of the data; otherwise only its last axis counts")

    def argument_names(self) -> tuple[str, ...]:
        return self.arguments[:2] if self.no_bias else self.arguments

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = ins[0]
        if data is None:
            return ins, outs
        summed = data[1:] if self.flatten else data[-1:]
        n_in = None if None in summed else prod(summed)  # type: ignore[arg-type]
        weight = unify(ins[1], (self.num_hidden, n_in))
        ones = (1,) if len(ins) == 3 and ins[2] is not None and len(ins[2]) == 2 else ()  # MXNet also takes (n, 1)
        bias = [unify(b, (self.num_hidden, *ones)) for b in ins[2:]]
        if outs[0] is not None and len(data) > 1:  # the batch size also comes from the output
            data = (unify_extent(data[0], outs[0][0]), *data[1:])
        lead = data[:1] if self.flatten else data[:-1]
        return [data, weight, *bias], [unify(outs[0], (*lead, self.num_hidden))]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        """Data of other ranks is viewed as a matrix."""
        shape = g.shape(x[0])
        if len(shape) == 2:
            return None
        y = g(self.name, self._as_matrix(g, x[0]), *x[1:], num_hidden=self.num_hidden, no_bias=self.no_bias)
        return [y if self.flatten else reshaped(g, y, (*shape[:-1], self.num_hidden))]

    def _as_matrix(self, g: GraphBuilder, data: Value) -> Value:
        shape = g.shape(data)
        if len(shape) == 2:
            return data
        n_lead = 1 if self.flatten else len(shape) - 1
        return reshaped(g, data, (prod(shape[:n_lead]), prod(shape[n_lead:])))

    def lower(self, t: Lowering) -> None:
        (m, k), (_, n) = t.ins[0].shape, t.out_shapes[0]

        def add_bias(total: Expr, *i: IndexLike) -> Expr:
            return total + t.ins[2](i[1], *(0,) * (t.ins[2].rank - 1))

        t.product("forward", Window.none(), (m, k, n), finish=None if self.no_bias else add_bias)

    def absorb_scale_shift(
        self, g: GraphBuilder, x: Sequence[Value], scale: Value, shift: Value, axis: int
    ) -> Sequence[Value] | None:
        if axis != 1 or len(g.shape(x[0])) != 2:
            return None
        weight, bias = scaled_parameters(g, x[1:], scale, shift)
        return [g(self.name, x[0], weight, bias, num_hidden=self.num_hidden)]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None] * len(x)
        data, weight = self._as_matrix(g, x[0]), x[1]
        head = reshaped(g, dy[0], (size_of(g.shape(dy[0])) // self.num_hidden, self.num_hidden))
        d_data = reshaped(g, g("dot", head, weight), g.shape(x[0]))
        d_weight = g("dot", head, data, transpose_a=True)
        d_bias = [reshaped(g, g("sum", head, axis=(0,)), g.shape(b)) for b in x[2:]]
        return [d_data, d_weight, *d_bias]


@op("dot", aliases=("_sparse_dot",))
class Dot(Op):
    """The product over the last axis of lhs and the first axis of rhs.

    lhs (*a, K), rhs (K, *b) -> (*a, *b); two vectors give (1,).  transpose_a sums over the first axis of lhs instead
    (its other axes keep their order), transpose_b over the last axis of rhs.  Source: MXNet operator dot.
    """

    arguments = ("lhs", "rhs")

    transpose_a: bool = param(False, doc="sum over the first axis of lhs")
    transpose_b: bool = param(False, doc="sum over the last axis of rhs")
    forward_stype: str | None = param(None, choices=STORAGE_TYPES, doc="ignored: arrays are dense")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        lhs, rhs = ins
        if lhs is None or rhs is None:
            return ins, outs
        check_rank(lhs, 1, None, "dot: lhs")
        check_rank(rhs, 1, None, "dot: rhs")
        if len(lhs) == len(rhs) == 1 and (self.transpose_a or self.transpose_b):
            raise ShapeError("Cannot transpose vectors")
        summed, rest_a = (lhs[0], lhs[1:]) if self.transpose_a else (lhs[-1], lhs[:-1])
        other, rest_b = (rhs[-1], rhs[:-1]) if self.transpose_b else (rhs[0], rhs[1:])
        if summed is not None and other is not None and summed != other:
            raise ShapeError(f"dot shape error: {mx_text(lhs)} X {mx_text(rhs)}")
        return ins, [unify(outs[0], rest_a + rest_b or (1,))]

    def _as_matrices(self, g: GraphBuilder, lhs: Value, rhs: Value) -> tuple[Value, Value]:
        a, b = g.shape(lhs), g.shape(rhs)
        a2 = (a[0], prod(a[1:])) if self.transpose_a else (prod(a[:-1]), a[-1])
        b2 = (prod(b[:-1]), b[-1]) if self.transpose_b else (b[0], prod(b[1:]))
        return reshaped(g, lhs, a2), reshaped(g, rhs, b2)

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        """Other ranks are viewed as matrices; a product of two transposes is the transpose of a product."""
        a, b = self._as_matrices(g, *x)
        if self.transpose_a and self.transpose_b:
            y = g("transpose", g("dot", b, a), axes=(1, 0))
        elif (a, b) == (x[0], x[1]):
            return None
        else:
            y = g("dot", a, b, transpose_a=self.transpose_a, transpose_b=self.transpose_b)
        a_rest = g.shape(x[0])[1:] if self.transpose_a else g.shape(x[0])[:-1]
        b_rest = g.shape(x[1])[:-1] if self.transpose_b else g.shape(x[1])[1:]
        return [reshaped(g, y, a_rest + b_rest or (1,))]

    def lower(self, t: Lowering) -> None:
        (m, n), a = t.out_shapes[0], t.ins[0].shape
        matrix_product(t, m, a[0] if self.transpose_a else a[1], n, self.transpose_a, self.transpose_b)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None, None]
        a, b = self._as_matrices(g, *x)
        m, n = g.shape(a)[1 if self.transpose_a else 0], g.shape(b)[0 if self.transpose_b else 1]
        head = reshaped(g, dy[0], (m, n))
        d_a, d_b = product_gradients(g, "dot", a, b, head, self.transpose_a, self.transpose_b)
        return [reshaped(g, d_a, g.shape(x[0])), reshaped(g, d_b, g.shape(x[1]))]


@op("batch_dot", aliases=("_npx_batch_dot",))
class BatchDot(Op):
    """Matrix products over equal leading axes: lhs (*lead, M, K), rhs (*lead, K, N) -> (*lead, M, N).

    transpose_a takes lhs as (*lead, K, M), transpose_b rhs as (*lead, N, K).  Source: MXNet operator batch_dot.
    """

    arguments = ("lhs", "rhs")

    transpose_a: bool = param(False, doc="swap the last two axes of lhs first")
    transpose_b: bool = param(False, doc="swap the last two axes of rhs first")
    forward_stype: str | None = param(None, choices=STORAGE_TYPES, doc="ignored: arrays are dense")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        lhs, rhs = ins
        if lhs is None or rhs is None:
            return ins, outs
        if len(lhs) != len(rhs) or len(lhs) < 3:
            raise ShapeError(
                f"batch_dot currently only support N-D*N-D array (N >= 3): {mx_text(lhs)} v.s. {mx_text(rhs)}"
            )
        m, k = lhs[:-3:-1] if self.transpose_a else lhs[-2:]
        other, n = rhs[:-3:-1] if self.transpose_b else rhs[-2:]
        if k is None or other is None:  # as in MXNet: nothing is said before both are known
            return ins, outs
        if k != other or unequal(lhs[:-2], rhs[:-2]):
            raise ShapeError(
                f"batch_dot shape error: {mx_text(lhs)} X {mx_text(rhs)} trans_a={self.transpose_a} "
                f"trans_b={self.transpose_b}"
            )
        return ins, [unify(outs[0], (*(unify(lhs[:-2], rhs[:-2]) or ()), m, n))]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        """Several leading axes are viewed as one; a product of two transposes is the transpose of a product."""
        lead = g.shape(x[0])[:-2]
        a, b = (reshaped(g, v, (prod(lead), *g.shape(v)[-2:])) for v in x)
        if self.transpose_a and self.transpose_b:
            y = g("transpose", g("batch_dot", b, a), axes=(0, 2, 1))
        elif len(lead) == 1:
            return None
        else:
            y = g("batch_dot", a, b, transpose_a=self.transpose_a, transpose_b=self.transpose_b)
        return [reshaped(g, y, (*lead, *g.shape(y)[-2:]))]

    def lower(self, t: Lowering) -> None:
        (n_stacked, m, n), a = t.out_shapes[0], t.ins[0].shape
        k = a[1] if self.transpose_a else a[2]
        matrix_product(t, m, k, n, self.transpose_a, self.transpose_b, n_stacked)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None, None]
        return product_gradients(g, "batch_dot", x[0], x[1], dy[0], self.transpose_a, self.transpose_b)


def matrix_product(
    t: Lowering, m: int, k: int, n: int, transpose_a: bool, transpose_b: bool, stack: int | None = None
) -> None:
    """Output 0 (m, n) = input 0 (m, k) times input 1 (k, n), either transposed but not both; or a stack of them."""
    none = Window.none()
    if transpose_b:  # y[m, n] = sum x[m, k] * w[n, k]
        t.product("forward", none, (m, k, n), stack=stack)
    elif transpose_a:  # w[m, n] = sum x[k, n] * y[k, m]
        t.product("weight_gradient", none, (k, n, m), lhs=1, rhs=0, stack=stack)
    else:  # x[m, n] = sum y[m, k] * w[k, n]
        t.product("data_gradient", none, (m, n, k), stack=stack)


def product_gradients(
    g: GraphBuilder, product: str, a: Value, b: Value, dy: Value, transpose_a: bool, transpose_b: bool
) -> tuple[Value, Value]:
    """Gradients of both operands of a matrix product, as products of the same operator."""
    if transpose_a:
        d_a = g(product, b, dy, transpose_a=transpose_b, transpose_b=True)
    else:
        d_a = g(product, dy, b, transpose_b=not transpose_b)
    if transpose_b:
        d_b = g(product, dy, a, transpose_a=True, transpose_b=transpose_a)
    else:
        d_b = g(product, a, dy, transpose_a=not transpose_a)
    return d_a, d_b


def reshaped(g: GraphBuilder, value: Value, shape: FullShape) -> Value:
    """The value under another shape; itself when it already has it."""
    return Term(g, value).reshape(shape).value


def unequal(a: Shape, b: Shape) -> bool:
    """Whether two shapes of equal rank contradict each other."""
    return any(m is not None and n is not None and m != n for m, n in zip(a, b))
