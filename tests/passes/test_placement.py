"""Parts of an assembled array are computed in place, where that is right."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.codegen.cpu.backend import CpuBackend
from symc.codegen.cpu.target import Target
from symc.ir.graph import Graph
from symc.ir.infer import infer_dtype, infer_shape
from symc.loopir.expr import Affine, Axis, load
from symc.loopir.tensor import Region
from symc.models import inception_bn
from symc.passes.assign_layout import assign_layout
from symc.passes.fuse import fuse
from symc.passes.phases import phases
from symc.passes.placement import copied_box, placements, slices
from symc.runtime.lowered import lower_program
from symc.symbol.graph import to_graph

from . import reference
from .golden import context, graph_of


def placed(text: str) -> dict[str, str]:
    """part -> the array it is computed into."""
    graph = fuse(assign_layout(graph_of(text), context()), context())
    return {str(part): str(inside.whole) for part, inside in placements(graph, phases(graph)).items()}


def test_computed_parts_are_placed_and_inputs_are_not():
    assert placed(
        """
        argument %x: float32[2, 3]
        argument %y: float32[2, 2]
        %a = exp(%x): float32[2, 3]
        %b = sin(%y): float32[2, 2]
        %c = Concat(%a, %y, %b, num_args=3): float32[2, 7]
        head c = %c
        """
    ) == {"%a": "%c", "%b": "%c"}


def test_a_box_of_another_rank_is_no_copy_of_a_part():
    i, part, whole = Axis("i", 2), load("in0", (Axis("i", 2),), "float32"), (Axis("i", 2), Affine.of(1))
    assert copied_box(Region((i,), whole, part)) is None
    assert copied_box(Region((i,), (i + 3,), part)) == (3,)
    assert copied_box(Region((i,), (i * 2,), part)) is None
    assert copied_box(Region((i,), (i,), part + 1.0)) is None
    assert copied_box(Region((i,), (i,), part, "add")) is None


def test_a_part_may_be_read_elsewhere():
    assert placed(
        """
        argument %x: float32[2, 3]
        %a = exp(%x): float32[2, 3]
        %c = Concat(%a, %x, num_args=2): float32[2, 6]
        %s = sum(%a, axis=(1,)): float32[2]
        head c = %c
        head s = %s
        """
    ) == {"%a": "%c"}


def test_a_part_that_is_a_head_or_seen_through_a_view_or_used_twice_is_not_placed():
    text = """
        argument %x: float32[2, 3]
        %a = exp(%x): float32[2, 3]
        %b = sin(%x): float32[2, 3]
        %v = Reshape(%b, shape=(6,)): float32[6]
        %d = cos(%x): float32[2, 3]
        %c = Concat(%a, %b, %d, %d, num_args=4): float32[2, 12]
        head c = %c
        head a = %a
        head v = %v
        """
    assert placed(text) == {}


def test_a_part_may_be_seen_through_the_view_that_is_collected():
    """Not one of which another view is taken, nor where the box has rows of its own."""
    assert placed(
        """
        argument %x: float32[2, 3]
        %a = exp(%x): float32[2, 3]
        %v = Reshape(%a, shape=(6,)): float32[6]
        %b = sin(%x): float32[2, 3]
        %w = Reshape(%b, shape=(6,)): float32[6]
        %u = Reshape(%b, shape=(3, 2)): float32[3, 2]
        %c = Concat(%v, %w, num_args=2, dim=0): float32[12]
        %d = cos(%x): float32[2, 3]
        %t = Reshape(%d, shape=(3, 2)): float32[3, 2]
        %e = Concat(%t, %u, num_args=2, dim=1): float32[3, 4]
        head c = %c
        head e = %e
        """
    ) == {"%a": "%c"}


def test_a_part_of_another_phase_is_not_placed():
    assert (
        placed(
            """
        parameter %w: float32[2, 3]
        argument %x: float32[2, 3]
        %a = exp(%w): float32[2, 3]
        %c = Concat(%a, %x, num_args=2): float32[2, 6]
        head c = %c
        """
        )
        == {}
    )


def test_a_part_of_two_arrays_goes_to_the_first():
    assert placed(
        """
        argument %x: float32[2, 3]
        %a = exp(%x): float32[2, 3]
        %c = Concat(%a, %x, num_args=2): float32[2, 6]
        %d = Concat(%x, %a, num_args=2): float32[2, 6]
        head c = %c
        head d = %d
        """
    ) == {"%a": "%c"}


def test_what_holds_a_reshaped_part_lies_in_one_piece():
    """Inside a range of the outermost axis, not between columns of others."""
    text = """
        argument %x: float32[2, 3]
        %a = exp(%x): float32[2, 3]
        %b = expand_dims(%a, axis=0): float32[1, 2, 3]
        %y = expand_dims(%x, axis=0): float32[1, 2, 3]
        %c = Concat(%b, %y, num_args=2, dim=0): float32[2, 2, 3]
        %z = Concat(%y, %y, num_args=2, dim=0): float32[2, 2, 3]
        %d = Concat(%z, %c, num_args=2, dim=AXIS): float32[SHAPE]
        head d = %d
        """
    assert placed(text.replace("AXIS", "0").replace("SHAPE", "4, 2, 3")) == {"%a": "%c", "%c": "%d", "%z": "%d"}
    assert placed(text.replace("AXIS", "2").replace("SHAPE", "2, 2, 6")) == {"%a": "%c", "%z": "%d"}


def sliced(text: str) -> dict[str, str]:
    """slice -> the array inside which it is read."""
    graph = fuse(assign_layout(graph_of(text), context()), context())
    return {str(part): str(inside.whole) for part, inside in slices(graph, placements(graph, phases(graph))).items()}


def test_slices_of_stored_arrays_are_read_in_place():
    """Also behind a memory view; not those that are outputs, reversed, stepped, or read by what needs dense memory."""
    assert sliced(
        """
        argument %x: float32[4, 6]
        parameter %w: float32[3, 2]
        %y = Reshape(%x, shape=(6, 4)): float32[6, 4]
        %a = slice_axis(%x, axis=1, begin=1, end=3): float32[4, 2]
        %b = slice(%y, begin=(1, 2), end=(5, 4)): float32[4, 2]
        %c = slice_axis(%x, axis=1, begin=4, end=6): float32[4, 2]
        %d = slice(%x, begin=(None, 0), end=(None, 4), step=(1, 2)): float32[4, 2]
        %e = slice(%x, begin=(0, 1), end=(2, 3)): float32[2, 2]
        %p = FullyConnected(%a, %w, no_bias=True, num_hidden=3): float32[4, 3]
        %q = FullyConnected(%b, %w, no_bias=True, num_hidden=3): float32[4, 3]
        %r = FullyConnected(%c, %w, no_bias=True, num_hidden=3): float32[4, 3]
        %s = FullyConnected(%d, %w, no_bias=True, num_hidden=3): float32[4, 3]
        %t = _cholesky(%e): float32[2, 2]
        head p = %p
        head q = %q
        head r = %r
        head s = %s
        head t = %t
        head c = %c
        """
    ) == {"%a": "%x", "%b": "%y"}


def test_a_range_of_the_outermost_axis_is_dense_and_read_in_place_through_views():
    """As the matrices that one array of parameters holds; not where the view is an output, nor by a routine."""
    assert sliced(
        """
        argument %x: float32[4, 6]
        parameter %w: float32[40]
        %a = slice_axis(%w, axis=0, begin=4, end=22): float32[18]
        %m = Reshape(%a, shape=(3, 6)): float32[3, 6]
        %b = slice_axis(%w, axis=0, begin=22, end=34): float32[12]
        %n = Reshape(%b, shape=(2, 6)): float32[2, 6]
        %c = slice_axis(%x, axis=0, begin=1, end=3): float32[2, 6]
        %d = Reshape(%c, shape=(6, 2)): float32[6, 2]
        %e = slice_axis(%w, axis=0, begin=36, end=40): float32[4]
        %s = Reshape(%e, shape=(2, 2)): float32[2, 2]
        %p = FullyConnected(%x, %m, no_bias=True, num_hidden=3): float32[4, 3]
        %q = FullyConnected(%x, %n, no_bias=True, num_hidden=2): float32[4, 2]
        %r = elemwise_mul(%d, %d): float32[6, 2]
        %t = _cholesky(%s): float32[2, 2]
        head p = %p
        head q = %q
        head n = %n
        head r = %r
        head t = %t
        """
    ) == {"%a": "%w", "%c": "%x"}


def test_a_range_of_the_outermost_axis_of_a_slice_is_not_dense():
    """Its rows lie apart, as the slice's do, so no view of it can be taken; nor of a part of what is placed."""
    assert sliced(
        """
        argument %w: float32[3, 2, 6]
        %half = slice_axis(%w, axis=2, begin=3, end=6): float32[3, 2, 3]
        %step = slice_axis(%half, axis=0, begin=1, end=2): float32[1, 2, 3]
        %seen = Reshape(%step, shape=(2, 3)): float32[2, 3]
        %read = slice_axis(%half, axis=0, begin=2, end=3): float32[1, 2, 3]
        %m = elemwise_mul(%seen, %seen): float32[2, 3]
        %n = elemwise_mul(%read, %read): float32[1, 2, 3]
        argument %v: float32[2, 3, 4]
        %e = exp(%v): float32[2, 3, 4]
        %both = Concat(%e, %v, dim=2, num_args=2): float32[2, 3, 8]
        %row = slice_axis(%e, axis=0, begin=1, end=2): float32[1, 3, 4]
        %view = Reshape(%row, shape=(3, 4)): float32[3, 4]
        %o = elemwise_mul(%view, %view): float32[3, 4]
        head m = %m
        head n = %n
        head both = %both
        head o = %o
        """
    ) == {"%half": "%w", "%read": "%half"}


def test_a_slice_of_a_state_or_of_what_is_never_stored_is_not_read_in_place():
    assert (
        sliced(
            """
        argument %x: float32[4, 6]
        aux %m: float32[4, 6]
        parameter %w: float32[3, 2]
        %s = slice_axis(%m, axis=1, begin=1, end=3): float32[4, 2]
        %p = FullyConnected(%s, %w, no_bias=True, num_hidden=3): float32[4, 3]
        %f = exp(%x): float32[4, 6]
        %t = slice_axis(%f, axis=1, begin=1, end=3): float32[4, 2]
        %q = FullyConnected(%t, %w, no_bias=True, num_hidden=3): float32[4, 3]
        head p = %p
        head q = %q
        """
        )
        == {}
    )


CONTRACTIONS = {
    "pointwise": lambda x: mx.sym.Convolution(x, kernel=(1, 1), num_filter=4, name="c"),
    "strided": lambda x: mx.sym.Convolution(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), num_filter=4, name="c"),
    "winograd": lambda x: mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=32, name="c"),
    "depthwise": lambda x: mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=16, num_group=16, name="c"),
    "deconvolution": lambda x: mx.sym.Deconvolution(x, kernel=(2, 2), stride=(2, 2), num_filter=4, name="c"),
    "product": lambda x: mx.sym.batch_dot(x.reshape((2, 16, 36)), x.reshape((2, 16, 36)), transpose_a=True),
    "matrix": lambda x: mx.sym.dot(
        mx.sym.slice(x, begin=(1, 2, 0, 0), end=(2, 3, 6, 6)).reshape((6, 6)), x.sum((0, 1))
    ),
    "pooling": lambda x: mx.sym.Pooling(x, kernel=(3, 3), pad=(1, 1), pool_type="avg"),
}


@pytest.mark.parametrize("name", CONTRACTIONS)
@pytest.mark.parametrize("axis, is_training", [(1, False), (1, True), (0, False), (-1, False), (-1, True)])
def test_slices_give_what_copies_of_them_would(name: str, axis: int, is_training: bool):
    """Slices go into a contraction and beside its sums; its result is a part of an assembly, and cut again."""
    shape = {1: (2, 40, 6, 6), 0: (4, 16, 6, 6), -1: (2, 16, 6, 13)}[axis]
    data = mx.sym.Variable("data")
    x = mx.sym.Convolution(data, kernel=(1, 1), num_filter=shape[1], no_bias=True, name="first")
    begin, extent = {1: (20, 16), 0: (1, 2), -1: (4, 6)}[axis]
    left, x = (mx.sym.slice_axis(x, axis=axis, begin=b, end=b + extent) for b in (begin - 1, begin))
    y = CONTRACTIONS[name](x)
    y = mx.sym.slice_axis(mx.sym.Concat(y, mx.sym.relu(y), dim=axis), axis=axis, begin=1, end=None)
    beside = mx.sym.Convolution(x, kernel=(1, 1), num_filter=16, name="second") + left
    net = mx.sym.Group([y, beside])
    executor = net.simple_bind(mx.cpu(), grad_req="write" if is_training else "null", data=(shape[0], 5, *shape[2:]))
    random = np.random.RandomState(3)
    feeds = {n: random.randn(*a.shape).astype("float32") for n, a in executor.arg_dict.items()}
    outs = executor.forward(is_training, **{n: mx.nd.array(a) for n, a in feeds.items()})
    wide = {n: a.astype("float64") for n, a in feeds.items()}
    graph = infer(to_graph(net, is_training, {n: a.shape for n, a in wide.items()}, dict.fromkeys(wide, "float64")))
    arrays = reference.forward(graph, wide)
    for got, o in zip(outs, graph.outputs):
        np.testing.assert_allclose(got.asnumpy(), arrays[o.value], rtol=1e-4, atol=1e-4)
    if not is_training:
        return
    dy = [random.randn(*out.shape).astype("float32") for out in outs]
    executor.backward([mx.nd.array(d) for d in dy])
    wanted = reference.gradients(graph, arrays, [d.astype("float64") for d in dy], list(feeds))
    for n, expected in wanted.items():
        scale = np.abs(expected).max()
        np.testing.assert_allclose(executor.grad_dict[n].asnumpy(), expected, atol=1e-5 * scale, rtol=1e-4, err_msg=n)


COPIES = {
    "swapped": (lambda c: mx.sym.swapaxes(c, 0, 2), lambda c: c.swapaxes(0, 2)),
    "reversed": (lambda c: mx.sym.reverse(c, axis=1), lambda c: c[:, ::-1]),
    "equal": (mx.sym.identity, lambda c: c),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_placed_part_is_also_copied_to_another_part_of_the_whole(name: str):
    """The copy is fused into the kernel that assembles the whole, and reads the part where it lies."""
    random = np.random.RandomState(3)
    a, b = (random.randn(3, 2, 6).astype("float32") for _ in range(2))
    both = mx.sym.concat(mx.sym.var("a"), mx.sym.var("b"), dim=0)
    copy, copied = COPIES[name]
    whole = mx.sym.concat(copy(both), both, dim=0)
    (seen,) = whole.eval(ctx=mx.cpu(), a=mx.nd.array(a), b=mx.nd.array(b))
    part = np.concatenate([a, b])
    np.testing.assert_array_equal(seen.asnumpy(), np.concatenate([copied(part), part]))


def infer(graph: Graph) -> Graph:
    return infer_dtype(infer_shape(graph))


@pytest.mark.parametrize("n_images", [1, 16])
@pytest.mark.parametrize("vector_bits", [256, 512])
def test_an_inception_block_copies_at_its_edges_alone(n_images: int, vector_bits: int):
    """InceptionFactoryA of MXNet's tutorial: the data to channels-last order, and the concatenation back."""
    block = inception_bn._block(mx.sym.Variable("data"), "3a", *inception_bn.BLOCKS["3a"])
    types = dict.fromkeys(block.list_arguments(), "float32")
    graph = to_graph(block, False, {"data": (n_images, 192, 28, 28)}, types)
    lowered = lower_program(graph, {}, CpuBackend(Target("x86_64-linux-gnu", "planned", "", vector_bits)))
    steps = enumerate(lowered.steps())
    first, *inside, last = (lowered.operators(k)[0] for k, (step, _, _) in steps if step.phase == "forward")
    assert first == last == "_copy"
    assert set(inside) <= {"Convolution", "Pooling", "input transform"}  # the last is Winograd's algorithm
