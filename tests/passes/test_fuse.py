"""Which nodes share a kernel, and why not more."""

from __future__ import annotations

from textwrap import dedent

import pytest

from symc.core.errors import GraphError
from symc.ir.text import graph_text
from symc.passes.fuse import MAX_NODES, MAX_OPERATIONS, fuse
from symc.passes.verify import verify

from .golden import context, graph_of


def groups(text: str) -> list[str]:
    """The names of the nodes of each group, in order; also checks that the input stays and a second run agrees."""
    graph = graph_of(text)
    was = graph_text(graph)
    fused = fuse(graph, context())
    assert graph_text(graph) == was and fuse(fused, context()).facts.group == fused.facts.group
    verify(fused, "fuse", frozenset(("shape", "dtype", "group")))
    members: dict[int, list[str]] = {}
    for node in fused.nodes:
        if node in fused.facts.group:
            members.setdefault(fused.facts.group[node], []).append(node.name)
    return [" ".join(names) for names in members.values()]


def test_a_chain_is_one_kernel():
    assert groups(
        """
        argument %x: float32[2, 3]
        %a = exp(%x): float32[2, 3]
        %b = sin(%a): float32[2, 3]
        %c = elemwise_add(%a, %b): float32[2, 3]
        head c = %c
        """
    ) == ["a b c"]


def test_elementwise_kernels_that_a_node_reads_are_one():
    """The way forward of a recurrent cell, whose gates are kept for the way back."""
    assert groups(
        """
        argument %x: float32[2, 8]
        argument %s: float32[2, 4]
        %i = slice_axis(%x, axis=1, begin=0, end=4): float32[2, 4]
        %a = exp(%i): float32[2, 4]
        %j = slice_axis(%x, axis=1, begin=4, end=8): float32[2, 4]
        %b = sin(%j): float32[2, 4]
        %c = elemwise_mul(%a, %b): float32[2, 4]
        %d = elemwise_add(%c, %s): float32[2, 4]
        head a = %a
        head b = %b
        head c = %c
        head d = %d
        """
    ) == ["i a j b c d"]


def test_kernels_stay_apart_where_another_stands_between_them_or_elements_are_read_elsewhere():
    graph = """
        argument %x: float32[4, 4]
        argument %y: float32[4, 4]
        %a = exp(%x): float32[4, 4]
        %t = {between}: float32[4, 4]
        %b = sin(%t): float32[4, 4]
        %c = elemwise_mul(%a, %b): float32[4, 4]
        head a = %a
        head c = %c
        """
    assert groups(graph.format(between="_cholesky(%a)")) == ["a", "t", "b c"]
    assert groups(graph.format(between="transpose(%a, axes=(1, 0))")) == ["a", "t b c"]
    assert groups(graph.format(between="cos(%y)")) == ["a t b c"]


def test_an_epilogue_joins_its_contraction_and_a_weights_producer_its_packing():
    assert groups(
        """
        argument %x: float32[2, 3]
        argument %r: float32[2, 4]
        parameter %w: float32[4, 3]
        parameter %b: float32[4]
        %p = exp(%w): float32[4, 3]
        %a = FullyConnected(%x, %p, %b, num_hidden=4): float32[2, 4]
        %s = elemwise_add(%a, %r): float32[2, 4]
        %c = relu(%s): float32[2, 4]
        head c = %c
        """
    ) == ["p a s c"]


@pytest.mark.parametrize("scale", ["4, 1", "1, 3"])
def test_an_epilogue_reads_a_number_for_each_row_or_column_of_a_matrix(scale):
    text = """
        argument %x: float32[4, 5]
        argument %y: float32[5, 3]
        argument %s: float32[{scale}]
        %a = dot(%x, %y): float32[4, 3]
        %c = broadcast_mul(%a, %s): float32[4, 3]
        head c = %c
        """
    assert groups(text.format(scale=scale)) == ["a c"]


STEP = """
argument %x: float32[2, {n}]
parameter %w: float32[{n}, 3]
parameter %b: float32[{n}]
argument %h: float32[2, 3]
%f = FullyConnected(%h, %w, %b, num_hidden={n}): float32[2, {n}]
%s = elemwise_add(%f, %x): float32[2, {n}]
%g = SliceChannel(%s, num_outputs={parts}): {each}
%t = tanh(%g): float32[2, {width}]
%m = elemwise_mul(%t, %g:1): float32[2, {width}]
head m = %m
"""


def step(n: int, parts: int) -> str:
    width = n // parts
    return STEP.format(n=n, parts=parts, width=width, each=", ".join([f"float32[2, {width}]"] * parts))


@pytest.mark.parametrize("parts", [2, 4])
def test_gates_are_the_epilogue_of_a_product_that_gives_a_section_of_channels_for_each(parts):
    assert groups(step(24, parts)) == ["f s g t m"]


@pytest.mark.parametrize(
    "text",
    [
        step(24, 3),  # as many sections no register tile holds
        step(24, 2) + "head s = %s\n",  # somebody reads the sums as they are
        step(24, 2) + "%r = flip(%s, axis=1): float32[2, 24]\nhead r = %r\n",  # or other elements of them
    ],
)
def test_gates_stay_apart_where_more_than_their_sections_is_read(text):
    assert groups(text)[0] == "f s"


def test_a_stack_of_products_takes_what_lies_along_its_columns():
    """The rows of all its matrices lie behind each other: what differs between matrices is no number for each row."""
    graph = """
        argument %x: float32[2, 3, 5]
        argument %r: float32[2, 3, 4]
        argument %c: float32[{c}]
        parameter %w: float32[2, 4, 5]
        %p = exp(%w): float32[2, 4, 5]
        %a = batch_dot(%x, %p, transpose_b=True): float32[2, 3, 4]
        %s = elemwise_add(%a, %r): float32[2, 3, 4]
        %m = broadcast_mul(%s, %c): float32[2, 3, 4]
        head m = %m
        """
    assert groups(graph.format(c="1, 1, 4")) == ["p a s m"]
    assert groups(graph.format(c="1, 3, 1")) == ["p a s", "m"]
    assert groups(graph.format(c="2, 1, 1")) == ["p a s", "m"]


def test_an_operand_streamed_twice_is_stored():
    assert groups(
        """
        argument %x: float32[3, 3]
        %h = exp(%x): float32[3, 3]
        %y = FullyConnected(%h, %h, num_hidden=3, no_bias=True): float32[3, 3]
        head y = %y
        """
    ) == ["h", "y"]


def test_a_reduction_takes_its_epilogue_and_a_cheap_prologue():
    text = """
        argument %x: float32[2, 3]
        %a = {op}(%x): float32[2, 3]
        %b = sum(%a, axis=({axis},)): float32[{n}]
        %c = exp(%b): float32[{n}]
        head c = %c
        """
    assert groups(text.format(op="square", axis=1, n=2)) == groups(text.format(op="exp", axis=1, n=2)) == ["a b c"]
    assert groups(text.format(op="square", axis=0, n=3)) == ["a b c"]
    assert groups(text.format(op="exp", axis=0, n=3)) == ["a", "b c"]  # nothing is kept of rows that are not contiguous


def test_what_walks_the_same_rows_is_one_kernel():
    """Mean, variance, scaling: three walks over each row; the exponential function is kept for its sum and quotient."""
    assert groups(
        """
        argument %x: float32[4, 5, 6]
        argument %g: float32[6]
        %m = mean(%x, axis=(-1,), keepdims=True): float32[4, 5, 1]
        %c = broadcast_sub(%x, %m): float32[4, 5, 6]
        %s = square(%c): float32[4, 5, 6]
        %v = mean(%s, axis=(-1,), keepdims=True): float32[4, 5, 1]
        %d = sqrt(%v): float32[4, 5, 1]
        %n = broadcast_div(%c, %d): float32[4, 5, 6]
        %y = broadcast_mul(%n, %g): float32[4, 5, 6]
        %e = exp(%y): float32[4, 5, 6]
        %t = sum(%e, axis=(-1,)): float32[4, 5]
        head y = %y
        head d = %d
        head t = %t
        """
    ) == ["m c s v d n y e t"]


def test_groups_that_walk_the_same_rows_are_merged():
    """Of a gradient: what is reduced is read again, beside another reduction."""
    text = """
        argument %x: float32[4, {n}]
        argument %d: float32[4, {n}]
        %a = exp(%d): float32[4, {n}]
        %b = elemwise_mul(%a, %x): float32[4, {n}]
        %s = sum(%a, axis=(1,), keepdims=True): float32[4, 1]
        %t = sum(%b, axis=(1,), keepdims=True): float32[4, 1]
        %c = broadcast_sub(%a, %s): float32[4, {n}]
        %y = broadcast_mul(%c, %t): float32[4, {n}]
        head y = %y
        """
    assert groups(text.format(n=6)) == ["a b s t c y"]
    assert groups(text.format(n=50_000)) == ["a b", "s", "t", "c y"]  # too long to stay near


@pytest.mark.parametrize(
    "other",
    [
        "%t = sum(%c, axis=(0,), keepdims=True): float32[1, 6]; %y = broadcast_mul(%c, %t)",  # columns
        "%t = broadcast_axis(%m, axis=(1,), size=(6,)): float32[4, 6]; %u = reverse(%t, axis=(0,)): float32[4, 6];"
        "%y = elemwise_mul(%c, %u)",
    ],
)
def test_what_leaves_the_row_is_a_kernel_of_its_own(other):
    rest = "\n".join(part.strip() for part in other.split(";"))
    text = (
        "argument %x: float32[4, 6]\n%m = mean(%x, axis=(1,), keepdims=True): float32[4, 1]\n"
        f"%c = broadcast_sub(%x, %m): float32[4, 6]\n{rest}: float32[4, 6]\nhead y = %y\n"
    )
    found = groups(text)
    assert found[0].startswith("m c") and not found[0].endswith("y") and len(found) > 1


def test_a_row_that_waits_for_the_group_keeps_a_node_out():
    """The product needs the centred rows, and what is scaled by it is no part of their kernel."""
    assert groups(
        """
        argument %x: float32[4, 6]
        parameter %w: float32[6, 6]
        %m = mean(%x, axis=(1,), keepdims=True): float32[4, 1]
        %c = broadcast_sub(%x, %m): float32[4, 6]
        %p = FullyConnected(%c, %w, num_hidden=6, no_bias=True): float32[4, 6]
        %s = sum(%p, axis=(1,), keepdims=True): float32[4, 1]
        %y = broadcast_div(%c, %s): float32[4, 6]
        head y = %y
        """
    ) == ["m c", "p", "s y"]


def test_an_operand_that_waits_for_the_group_keeps_a_node_out():
    """c reads a, and the total of a: in a's kernel it would wait for a kernel that waits for it."""
    assert groups(
        """
        argument %x: float32[2, 50000]
        %a = exp(%x): float32[2, 50000]
        %t = sum(%a, axis=(1,), keepdims=True): float32[2, 1]
        %c = broadcast_div(%a, %t): float32[2, 50000]
        head c = %c
        """
    ) == ["a", "t", "c"]


def test_a_node_that_reads_other_elements_starts_a_kernel():
    assert groups(
        """
        argument %x: float32[3, 3]
        %a = exp(%x): float32[3, 3]
        %b = transpose(%a): float32[3, 3]
        %c = elemwise_add(%a, %b): float32[3, 3]
        head c = %c
        """
    ) == ["a", "b c"]


def test_memory_views_have_no_group():
    assert groups(
        """
        argument %x: float32[2, 3]
        %a = exp(%x): float32[2, 3]
        %v = Reshape(%a, shape=(6,)): float32[6]
        %b = sin(%v): float32[6]
        head b = %b
        """
    ) == ["a", "b"]


def test_a_state_is_written_by_a_kernel_of_its_own():
    assert groups(
        """
        argument %x: float32[3]
        aux %m: float32[3]
        %a = exp(%x): float32[3]
        %b = elemwise_add(%a, %m): float32[3]
        head a = %a
        update m = %b
        """
    ) == ["a", "b"]


def test_phases_do_not_mix():
    assert groups(
        """
        parameter %w: float32[3]
        argument %x: float32[3]
        %p = exp(%w): float32[3]
        %a = elemwise_add(%x, %p): float32[3]
        head a = %a
        """
    ) == ["p", "a"]


def chain(op: str, n: int, shapes: tuple[str, str]) -> str:
    lines = [f"argument %n0: float32[{shapes[0]}]"]
    lines += [f"%n{k + 1} = {op}(%n{k}): float32[{shapes[(k + 1) % 2]}]" for k in range(n)]
    return "\n".join([*lines, f"head y = %n{n}"])


@pytest.mark.parametrize("op, shapes", [("sin", ("3", "3")), ("square", ("3", "3")), ("transpose", ("2, 3", "3, 2"))])
def test_kernels_are_bounded(op, shapes):
    found = [len(names.split()) for names in groups(chain(op, 200, shapes))]
    assert sum(found) == 200 and max(found) <= min(MAX_NODES, MAX_OPERATIONS)


def test_a_missing_group_is_an_error():
    graph = graph_of("argument %x: float32[2]\n%y = exp(%x): float32[2]\nhead y = %y")
    with pytest.raises(GraphError, match=r"^after mine: exp y belongs to no group$"):
        verify(graph, "mine", frozenset(("shape", "dtype", "group")))


def test_the_text_shows_groups():
    graph = fuse(graph_of("argument %x: float32[2]\n%y = exp(%x): float32[2]\nhead y = %y"), context())
    assert graph_text(graph) == dedent(
        """\
        argument %x: float32[2]
        %y = exp(%x): float32[2]  group 0
        head y = %y
        """
    )


def test_a_conversion_in_front_of_windows_is_stored():
    """Read at every tap in the order that it converts from, it would be for nothing."""
    assert groups(
        """
        argument %x: float32[2, 8, 6, 6]
        %c = _copy(%x): float32[2, 8, 6, 6] layout 0231
        %p = Pooling(%c, kernel=(3, 3), pad=(1, 1)): float32[2, 8, 6, 6] layout 0231
        head p = %p
        """
    ) == ["c", "p"]


@pytest.mark.parametrize(("kernel", "found"), [((2, 2), ["p t", "g"]), ((3, 5), ["p", "t", "g"])])
def test_where_a_maximum_lay_is_found_beside_it(kernel, found):
    """On the way forward, while its window is near; the taps of a large window are walked again by a loop."""
    window = f"kernel={kernel}, stride={kernel}, pad=(0, 0)"
    assert (
        groups(
            f"""
        argument %x: float32[2, 8, 6, 15]
        head_gradient %d: float32[2, 8, {6 // kernel[0]}, {15 // kernel[1]}]
        %p = Pooling(%x, pool_type='max', {window}): float32[2, 8, {6 // kernel[0]}, {15 // kernel[1]}]
        %t = _pooling_argmax(%x, %p, {window}): uint8[2, 8, {6 // kernel[0]}, {15 // kernel[1]}]
        %g = _pooling_gradient(%d, %t, kind='max', in_shape=(2, 8, 6, 15), {window}): float32[2, 8, 6, 15]
        head p = %p
        gradient x = %g
        """
        )
        == found
    )
