"""Parts of an assembled array are computed in place, where that is right."""

from __future__ import annotations

from symc.loopir.expr import Affine, Axis, load
from symc.loopir.tensor import Region
from symc.passes.assign_layout import assign_layout
from symc.passes.fuse import fuse
from symc.passes.phases import phases
from symc.passes.placement import copied_box, placements

from .golden import context, graph_of


def placed(text: str) -> dict[str, str]:
    """part -> the array it is computed into."""
    graph = fuse(assign_layout(graph_of(text), context()), context())
    return {str(part): str(whole) for part, (whole, _) in placements(graph, phases(graph)).items()}


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
