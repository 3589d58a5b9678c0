"""Groups become kernels over named storage: order, outputs, packing, copies, phases."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
import pytest

from symc.core.errors import GraphError, ShapeError
from symc.ir.kernels import KernelGraph
from symc.ir.op import Op, op
from symc.ir.text import graph_text
from symc.loopir.expr import cast, const, prim
from symc.loopir.kernel import Contraction
from symc.passes import prepared
from symc.passes.assign_layout import assign_layout
from symc.passes.base import PassContext
from symc.passes.fuse import fuse
from symc.passes.lower_loops import lower
from symc.passes.plan_memory import plan_memory

from .golden import context, graph_of
from .simulate import PackingBackend, PlainBackend, WinogradBackend, simulate


@op("_test_out_of_bounds")
class OutOfBounds(Op):
    """Reads one element too far."""

    is_internal = True

    def lower(self, t):
        t.map(lambda i: t.ins[0](i + 1))


@op("_test_computed_read")
class ComputedRead(Op):
    """x at the positions i, clamped to what there is."""

    is_internal = True
    arguments = ("x", "i")

    def infer_shape(self, ins, outs):
        return ins, [ins[1]]

    def lower(self, t):
        x, i = t.ins
        t.map(lambda n: x(prim("minimum", cast(i(n), "int64"), x.shape[0] - 1)))


@op("_test_computed_write")
class ComputedWrite(Op):
    """Zeros like x with 1 at the positions i, clamped to what there is."""

    is_internal = True
    arguments = ("x", "i")

    def infer_shape(self, ins, outs):
        return ins, [ins[0]]

    def lower(self, t):
        x, i = t.ins
        t.region(x.shape, lambda n: (n,), lambda n: const(0.0, "float32"))
        t.region(
            i.shape,
            lambda n: (prim("minimum", cast(i(n), "int64"), x.shape[0] - 1),),
            lambda n: const(1.0, "float32"),
        )


def lowered(text: str, backend=PlainBackend()) -> KernelGraph:  # noqa: B008
    graph = fuse(assign_layout(graph_of(text), context()), context())
    was = graph_text(graph)
    kernels = lower(graph, PassContext(backend))
    assert graph_text(graph) == was
    assert lower(graph, PassContext(backend)).text() == kernels.text()
    return kernels


def check(text: str, expected: str, backend=PlainBackend()) -> None:  # noqa: B008
    assert lowered(text, backend).text() == dedent(expected).lstrip("\n"), lowered(text, backend).text()


def table(kernels: KernelGraph) -> list[tuple[str, str, str]]:
    """(phase, nodes, reason) of each kernel."""
    return [(k.phase, " ".join(k.nodes), k.reason) for k in kernels.kernels]


def test_a_fused_group_is_one_nest_and_writes_into_the_callers_array():
    check(
        """
        argument %x: float32[2, 3]
        %a = exp(%x): float32[2, 3]
        %b = elemwise_add(%a, %x): float32[2, 3]
        head y = %b
        """,
        """
             argument x: float32 x 6  x
                 head head:y: float32 x 6  0

        forward: a + b   (fused)
          nest
            x.buf: float32[2, 3] strides (3, 1)
            b.buf: float32[2, 3] strides (3, 1)
            for i0<2, i1<3: b.buf[i0, i1] = add(exp(x.buf[i0, i1]), x.buf[i0, i1])
        """,
    )


READ = """
argument %x: float32[2, 5]
parameter %w: float32[24, 5]
%s = FullyConnected(%x, %w, no_bias=True, num_hidden=24): float32[2, 24]
%g = SliceChannel(%s, num_outputs=3): float32[2, 8], float32[2, 8], float32[2, 8]
%m = elemwise_mul(%g, %g:1): float32[2, 8]
%a = elemwise_add(%m, %g:2): float32[2, 8]
head a = %a
"""


@pytest.mark.parametrize(("more", "sections"), [("", 3), ("%r = flip(%s, axis=1): float32[2, 24]\nhead r = %r\n", 1)])
def test_a_product_knows_the_sections_of_its_channels_that_are_read_together(more, sections):
    (product,) = (k.kernel for k in lowered(READ + more).kernels if isinstance(k.kernel, Contraction))
    assert product.read_sections == sections


def test_a_reader_with_fewer_axes_than_the_product_reads_no_section_of_it():
    """The variance of a low-rank normal distribution in GluonTS."""
    text = """
    argument %x: float32[4, 1, 5]
    argument %y: float32[4, 5, 1]
    %s = batch_dot(%x, %y): float32[4, 1, 1]
    %d = diag(%s, axis1=-2, axis2=-1): float32[4, 1]
    head d = %d
    """
    (product,) = (k.kernel for k in lowered(text).kernels if isinstance(k.kernel, Contraction))
    assert product.read_sections == 1


def test_an_epilogue_runs_on_the_finished_sums():
    check(
        """
        argument %x: float32[2, 3]
        parameter %w: float32[4, 3]
        parameter %b: float32[4]
        %a = FullyConnected(%x, %w, %b, num_hidden=4): float32[2, 4]
        %c = relu(%a): float32[2, 4]
        head y = %c
        """,
        """
             argument x: float32 x 6  x
            parameter w: float32 x 12  w
            parameter b: float32 x 4  b
                 head head:y: float32 x 8  0

        forward: a + c   (fused)
          contraction forward batch=2 channels=3->4 groups=1 in=() out=() kernel=() stride=() dilate=() pad=() \
lhs=x.buf rhs=w.buf
            x.buf: float32[2, 3] strides (3, 1)
            w.buf: float32[4, 3] strides (3, 1)
            b.buf: float32[4] strides (1,)
            c.buf: float32[2, 4] strides (4, 1)
            for i0<2, i1<4: c.buf[i0, i1] = maximum(add(@acc[], b.buf[i1]), 0.0)
        """,
    )


WEIGHTS = """
    argument %x: float32[2, 3]
    {role} %w: float32[4, 3]
    %p = exp(%w): float32[4, 3]
    %a = FullyConnected(%x, %p, num_hidden=4, no_bias=True): float32[2, 4]
    head y = %a
    """


@pytest.mark.parametrize("role, phase", [("parameter", "prepare"), ("argument", "forward")])
def test_a_weight_is_packed_once_or_before_its_use(role, phase):
    kernels = lowered(WEIGHTS.format(role=role), PackingBackend())
    assert table(kernels) == [(phase, "p a", "pack for the register tile"), ("forward", "a", "alone")]
    assert kernels.storages["a.packed"].place == ("prepared" if phase == "prepare" else "arena")
    distance = kernels.storages["a.packed"].size_bytes if phase == "prepare" else 0
    assert kernels.kernels[0].kernel.distance_bytes == distance  # all that is prepared


@pytest.mark.parametrize("role, phase", [("parameter", "prepare"), ("argument", "forward")])
def test_without_packing_a_fused_weight_is_stored(role, phase):
    assert table(lowered(WEIGHTS.format(role=role))) == [(phase, "p", "alone"), ("forward", "a", "alone")]


def test_one_weight_used_twice_is_packed_once():
    kernels = lowered(
        """
        argument %x: float32[2, 3]
        argument %z: float32[5, 3]
        parameter %w: float32[4, 3]
        %a = FullyConnected(%x, %w, num_hidden=4, no_bias=True): float32[2, 4]
        %b = FullyConnected(%z, %w, num_hidden=4, no_bias=True): float32[5, 4]
        head a = %a
        head b = %b
        """,
        PackingBackend(),
    )
    assert [k for k in table(kernels) if k[2].startswith("pack")] == [("prepare", "a", "pack for the register tile")]


def test_arrangements_of_one_weight_follow_each_other():
    kernels = lowered(
        """
        argument %x: float32[2, 3]
        parameter %w: float32[4, 3]
        parameter %v: float32[5, 4]
        %a = FullyConnected(%x, %w, num_hidden=4, no_bias=True): float32[2, 4]
        %b = FullyConnected(%a, %v, num_hidden=5, no_bias=True): float32[2, 5]
        %c = dot(%a, %w): float32[2, 3]
        head b = %b
        head c = %c
        """,
        PackingBackend(),
    )
    assert [k[1] for k in table(kernels) if k[0] == "prepare"] == ["a", "c", "b"]


SHARED_CONVOLUTION = """
    argument %x: float32[2, 3, 6, 5]
    argument %z: float32[1, 3, 4, 4]
    {role} %w: float32[5, 3, 3, 3]
    %a = Convolution(%x, %w, kernel=(3, 3), pad=(1, 1), num_filter=5, no_bias=True): float32[2, 5, 6, 5]
    %b = Convolution(%z, %w, kernel=(3, 3), num_filter=5, no_bias=True): float32[1, 5, 2, 2]
    %r = Activation(%b, act_type="relu"): float32[1, 5, 2, 2]
    head a = %a
    head r = %r
    """


def test_a_transformed_weight_serves_every_layer_that_shares_it():
    kernels = lowered(SHARED_CONVOLUTION.format(role="parameter"), WinogradBackend())
    reasons = [k.reason for k in kernels.kernels if k.phase == "prepare"]
    assert reasons == ["pack for the register tile", "transform for the register tile"]
    assert kernels.kernels[0].kernel.distance_bytes == 0  # the transform reads it at once
    places = {s.name: s.place for s in kernels.storages.values() if "scratch" in s.name or "packed" in s.name}
    assert places == {"a.packed": "prepared", "a.scratch": "arena", "b.scratch": "arena"}


def test_a_weight_that_changes_is_not_transformed():
    kernels = lowered(SHARED_CONVOLUTION.format(role="argument"), WinogradBackend())
    assert not any("transform" in k.reason or k.kernel.written for k in kernels.kernels)


@pytest.mark.parametrize("role", ["parameter", "argument"])
def test_transformed_weights_mean_the_same(role):
    rng = np.random.default_rng(0)
    arrays = {
        ("argument", "x"): rng.standard_normal((2, 3, 6, 5)),
        ("argument", "z"): rng.standard_normal((1, 3, 4, 4)),
        (role, "w"): rng.standard_normal((5, 3, 3, 3)),
    }
    arrays = {key: value.astype("float32") for key, value in arrays.items()}
    plain, transformed = (
        simulate(plan_memory(lowered(SHARED_CONVOLUTION.format(role=role), backend)), dict(arrays))
        for backend in (PlainBackend(), WinogradBackend())
    )
    for head in ("0", "1"):
        np.testing.assert_allclose(transformed["head", head], plain["head", head], rtol=1e-5, atol=1e-5)


def test_heads_that_are_inputs_or_heads_already_are_copied():
    kernels = lowered(
        """
        argument %x: float32[2, 3]
        %a = exp(%x): float32[2, 3]
        %v = Reshape(%a, shape=(6,)): float32[6]
        head x = %x
        head a = %a
        head v = %v
        head a = %a
        """
    )
    assert table(kernels) == [
        ("forward", "a", "alone"),
        ("forward", "x", "copy out"),
        ("forward", "v", "copy out"),
        ("forward", "a", "copy out"),
    ]
    assert [s.key for s in kernels.storages.values() if s.place == "head"] == ["0", "1", "2", "3"]


def test_what_a_head_is_a_view_of_is_stored_in_the_callers_array():
    kernels = lowered(
        """
        argument %x: float32[2, 3]
        parameter %w: float32[6]
        %a = exp(%x): float32[2, 3]
        %v = Reshape(%a, shape=(6,)): float32[6]
        %b = exp(%w): float32[6]
        %u = Reshape(%b, shape=(3, 2)): float32[3, 2]
        head v = %v
        head u = %u
        """
    )
    assert kernels.views["a.buf"].storage == "head:v"
    assert table(kernels) == [  # what is prepared is not written by every run
        ("prepare", "b", "alone"),
        ("forward", "a", "alone"),
        ("forward", "u", "copy out"),
    ]


def test_a_view_shares_its_inputs_storage():
    kernels = lowered(
        """
        argument %x: float32[2, 3]
        %v = Reshape(%x, shape=(6,)): float32[6]
        %b = sin(%v): float32[6]
        head b = %b
        """
    )
    assert kernels.views["v.buf"] == kernels.views["x.buf"]


def test_states_are_written_after_everything_that_reads_them():
    kernels = lowered(
        """
        argument %x: float32[3]
        aux %m: float32[3]
        %u = elemwise_add(%x, %m): float32[3]
        %s = sum(%m, axis=(0,), keepdims=True): float32[1]
        %t = broadcast_mul(%x, %s): float32[3]
        update m = %u
        gradient x = %t
        """
    )
    assert table(kernels)[-1] == ("backward", "u", "alone")


def test_phases_follow_each_other():
    kernels = lowered(
        """
        parameter %w: float32[3]
        argument %x: float32[3]
        head_gradient %d: float32[3]
        %g = elemwise_mul(%d, %x): float32[3]
        %p = exp(%w): float32[3]
        %y = elemwise_add(%x, %p): float32[3]
        gradient x = %g
        head y = %y
        """
    )
    assert [k[0] for k in table(kernels)] == ["prepare", "forward", "backward"]


def test_a_large_gradient_that_no_kernel_reads_is_read_late(monkeypatch):
    """Until its update all gradients are written, and a weight is read for each."""
    monkeypatch.setattr(prepared, "LARGE_BYTES", 48)
    kernels = lowered(
        """
        argument %x: float32[2, 3]
        argument %y: float32[2, 4]
        head_gradient %d: float32[2, 4]
        %a = dot(%d, %x, transpose_a=True): float32[4, 3]
        %b = dot(%y, %x, transpose_a=True): float32[4, 3]
        %c = exp(%b): float32[4, 3]
        %s = sum(%d, axis=(0,)): float32[4]
        gradient x = %a
        gradient y = %b
        gradient z = %c
        gradient bias = %s
        """
    )
    distances = {k.nodes[-1]: k.kernel.distance_bytes for k in kernels.kernels}
    assert distances == {"a": 2 * (3 * 48 + 16), "b": 0, "c": 2 * (3 * 48 + 16), "s": 0}  # "b" is read, "s" is small


def test_what_depends_on_a_state_that_is_updated_is_not_prepared():
    text = """
        aux %m: float32[3]
        argument %x: float32[3]
        %p = exp(%m): float32[3]
        %y = elemwise_add(%x, %p): float32[3]
        head y = %y
        """
    assert [k[0] for k in table(lowered(text))] == ["prepare", "forward"]
    updated = lowered(text.replace("head y", "update m = %y\n        head y"))
    assert "prepare" not in [k[0] for k in table(updated)]


def test_nodes_of_one_name_have_storage_of_their_own():
    kernels = lowered(
        """
        argument %x: float32[2, 3]
        %a = sum(%x, axis=(0,)): float32[3]
        %a#1 = sum(%x, axis=(1,)): float32[2]
        %b = sum(%a): float32[1]
        %c = sum(%a#1): float32[1]
        head b = %b
        head c = %c
        """
    )
    assert {"a", "a~1"} <= set(kernels.storages) and {"a.buf", "a.buf~1"} <= set(kernels.views)


def test_packed_operands_of_one_name_are_not_mixed_up():
    kernels = lowered(
        """
        argument %x: float32[2, 3]
        parameter %w: float32[4, 3]
        parameter %v: float32[4, 3]
        %p = exp(%w): float32[4, 3]
        %p#1 = sin(%v): float32[4, 3]
        %a = FullyConnected(%x, %p, num_hidden=4, no_bias=True): float32[2, 4]
        %b = FullyConnected(%x, %p#1, num_hidden=4, no_bias=True): float32[2, 4]
        head a = %a
        head b = %b
        """,
        PackingBackend(),
    )
    assert [k[1] for k in table(kernels) if k[2].startswith("pack")] == ["p a", "p b"]


@pytest.mark.parametrize("n, is_refused", [(2, True), (0, False)])
@pytest.mark.parametrize("name", ["_test_computed_read", "_test_computed_write"])
def test_a_computed_position_in_an_axis_of_extent_0_is_an_error(name, n, is_refused):
    """Whatever shape inference lets through: no clamp makes -1 of an empty axis a place in memory."""
    text = f"""
        argument %x: float32[0]
        argument %i: float32[{n}]
        %y = {name}(%x, %i): float32[{n if name.endswith("read") else 0}]
        head y = %y
        """
    if not is_refused:
        lowered(text)
        return
    with pytest.raises(ShapeError, match=r"Error in operator y: there is no position in an axis of extent 0"):
        lowered(text)


def test_a_kernel_that_leaves_its_buffer_is_an_error():
    text = r"^x\.buf: index i0 \+ 1 spans 1\.\.3 of extent 3 in: for i0<3: y\.buf\[i0\] = "
    with pytest.raises(GraphError, match=text):
        lowered("argument %x: float32[3]\n%y = _test_out_of_bounds(%x): float32[3]\nhead y = %y")
