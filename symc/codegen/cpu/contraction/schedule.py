"""Contraction -> kernel calls: what its plan decided, in terms of each kernel's own problem."""

from __future__ import annotations

from dataclasses import replace

from symc.codegen.contraction.epilogue import epilogue_of, even_stride
from symc.codegen.contraction.geometry import source_offsets
from symc.codegen.contraction.tables import depthwise_gradient_tables, line_tables, pixel_tables, tile_tables
from symc.codegen.contraction.winograd import Filtering, input_geometry, output_pixels, work_flops
from symc.codegen.cpu.nest.plan import STREAM_BYTES
from symc.codegen.kernel import KernelCall, Ref, Share
from symc.core.dtypes import ITEM_SIZE
from symc.core.errors import CodegenError
from symc.core.shapes import size_of
from symc.loopir.expr import Axis
from symc.loopir.kernel import ACCUMULATOR, Buffer, Contraction, buffer_of, loads_of
from symc.loopir.work import Work, work_of

from . import depthwise, forward, rings, strips, weight_gradient, winograd
from .plan import DepthwisePlan, GradientPlan, MatrixPlan, RingPlan, StripPlan, WinogradPlan
from .planner import geometry_of, source_of


def schedule_contraction(c: Contraction) -> list[KernelCall]:
    """The kernel calls that carry out the plan of `c`, in order.

    Raises CodegenError when an operand is not channels-last, or a store cannot run on the finished sums.
    """
    plan = c.plan
    if isinstance(plan, MatrixPlan):
        return [_matrix(c, plan)]
    if isinstance(plan, WinogradPlan):
        return _winograd(c, plan)
    if isinstance(plan, GradientPlan):
        return [_weight_gradient(c, plan)]
    if isinstance(plan, DepthwisePlan):
        return [(_depthwise_gradient if c.kind == "weight_gradient" else _depthwise)(c, plan)]
    if isinstance(plan, StripPlan):
        return [strips.emit(_strip_problem(c), plan)]
    if isinstance(plan, RingPlan):
        return [rings.emit(_strip_problem(c), plan)]
    raise CodegenError(f"scheduling a contraction: its plan is {plan}; expected one of the CPU's\n{c.text()}")


def _matrix(c: Contraction, plan: MatrixPlan) -> KernelCall:
    source, g = source_of(c, c.lhs), geometry_of(c)
    problem = forward.ForwardProblem(
        dtype=source.dtype,
        lhs=_ref(source),
        weight=_ref(buffer_of(c, c.rhs)),
        tables=tile_tables(g.of_images(plan.images), plan.tile.rows, plan.is_long),
        n_repeats=plan.n_repeats,
        rows_per_table=plan.images * g.n_rows,
        lhs_repeat_stride=plan.images * g.image_stride if c.stack is None else buffer_of(c, c.lhs).strides[0],
        lhs_group_stride=g.channels,
        is_stacked=c.stack is not None,
        groups=c.groups,
        columns=plan.packing.section_columns,
        depth=g.channels * g.n_taps,
        epilogue=epilogue_of(c),
    )
    return forward.emit(problem, plan)


def _depthwise(c: Contraction, plan: DepthwisePlan) -> KernelCall:
    source, g = source_of(c, c.lhs), geometry_of(c)
    tables = line_tables if plan.line.n_taps > 1 else tile_tables
    problem = depthwise.DepthwiseProblem(
        dtype=source.dtype,
        x=_ref(source),
        factor=_ref(buffer_of(c, c.rhs)),
        # The packed weight has one vector group for each tap, so that is the length of a segment.
        tables=tables(g.of_images(plan.images).with_channels(plan.tile.columns), plan.tile.rows),
        channels=c.groups,
        panel_stride=g.n_taps * plan.tile.columns,
        epilogue=epilogue_of(c),
        n_repeats=plan.n_repeats,
        rows_per_table=plan.images * g.n_rows,
        x_repeat_stride=plan.images * g.image_stride,
    )
    return depthwise.emit(problem, plan)


def _strip_problem(c: Contraction) -> strips.StripProblem:
    source = source_of(c, c.lhs)
    return strips.StripProblem(
        dtype=source.dtype,
        x=_ref(source),
        factor=_ref(buffer_of(c, c.rhs)),
        geometry=geometry_of(c),
        images=c.batch,
        channels=c.groups,
        epilogue=epilogue_of(c),
    )


def _depthwise_gradient(c: Contraction, plan: DepthwisePlan) -> KernelCall:
    x, dy, g = source_of(c, c.lhs), source_of(c, c.rhs), geometry_of(c).of_images(plan.images)
    problem = depthwise.DepthwiseProblem(
        dtype=x.dtype,
        x=_ref(x),
        factor=_ref(dy),
        tables=depthwise_gradient_tables(g, dy.strides[0], _pixel_stride(c, dy), plan.tile.rows),
        channels=c.groups,
        panel_stride=plan.tile.columns,
        epilogue=epilogue_of(c),
        n_sums=plan.n_repeats,
        x_sum_stride=plan.images * x.strides[0],
        factor_sum_stride=plan.images * dy.strides[0],
    )
    return depthwise.emit(problem, plan)


def _weight_gradient(c: Contraction, plan: GradientPlan) -> KernelCall:
    x, dy, g = source_of(c, c.lhs), source_of(c, c.rhs), geometry_of(c).of_images(plan.images)
    width, rows = g.taps[-1] if plan.is_merged else 1, c.out_channels // c.groups
    problem = weight_gradient.WeightGradientProblem(
        dtype=x.dtype,
        x=_ref(x),
        dy=_ref(dy),
        tables=pixel_tables(g, dy.strides[0], _pixel_stride(c, dy), plan.is_merged, plan.block_pixels),
        n_repeats=plan.n_repeats,
        x_repeat_stride=plan.images * x.strides[0],
        dy_repeat_stride=plan.images * dy.strides[0],
        x_group_stride=g.channels if c.stack is None else buffer_of(c, c.lhs).strides[0],
        dy_group_stride=rows if c.stack is None else buffer_of(c, c.rhs).strides[0],
        groups=c.groups if c.stack is None else c.stack,
        rows=rows,
        channels=g.channels,
        n_runs=g.n_taps // width,
        run_columns=width * g.channels,
        epilogue=epilogue_of(c),
        streams=c.distance_bytes >= STREAM_BYTES,
    )
    return weight_gradient.emit(problem, plan)


def _winograd(c: Contraction, plan: WinogradPlan) -> list[KernelCall]:
    source, outputs, f = source_of(c, c.lhs), plan.packing.outputs, Filtering.of(c)
    (transformed,) = c.written
    pixels = output_pixels(f.outputs, outputs)
    problem = winograd.WinogradProblem(
        products=plan.products,
        transforms=plan.packing.transforms,
        source=_ref(source),
        weight=_ref(buffer_of(c, c.rhs)),
        transformed=_ref(buffer_of(c, transformed)),
        offsets=source_offsets(input_geometry(c, outputs)),
        pixels=pixels,
        source_repeat_stride=source.strides[0],
        pixels_per_table=size_of(f.outputs),
        channels=f.channels,
        columns=f.columns,
        epilogue=epilogue_of(c),
    )
    n_all, part_tiles = c.batch * len(pixels), plan.part_groups * plan.tile.rows
    firsts = range(0, n_all, part_tiles)
    parts = [winograd.Part(at, min(part_tiles, n_all - at), k + 1, len(firsts)) for k, at in enumerate(firsts)]
    whole, size_bytes = work_of(c), sum(buffer_of(c, name).size_bytes for name in (c.lhs, transformed))
    inputs = Work(work_flops(c, plan.packing.transforms)[0], size_bytes)
    writes = tuple({store.buffer: None for store in c.stores})
    loaded = {e.data[0] for store in c.stores for e in loads_of(store.value)} - {ACCUMULATOR}
    reads = tuple(sorted({c.rhs, transformed, *loaded}))
    calls = []
    for part in parts:
        span = part.first_tile, part.first_tile + part.n_tiles, n_all
        into = Share("input transform", inputs.part(*span), (c.lhs,), (transformed,))
        calls.append(replace(winograd.emit_input(problem, part, plan), share=into))
        products = Share("", (whole - inputs).part(*span), reads, writes)
        calls.append(replace(winograd.emit(problem, part, plan), share=products))
    return calls


def _ref(buffer: Buffer) -> Ref:
    return Ref(buffer.name, buffer.offset * ITEM_SIZE[buffer.dtype])


def _pixel_stride(c: Contraction, dy: Buffer) -> int:
    """The distance of two pixels of dy; raises CodegenError unless the pixels of an image are evenly spaced."""
    axes = [Axis(f"q{d}", n) for d, n in enumerate(c.window.out_extents)]
    try:
        return even_stride(axes, dict(zip(axes, dy.strides[2:])))
    except ValueError as error:
        raise CodegenError(f"{c.kind} contraction: operand {dy.name!r}: {error}\n{c.text()}") from error
