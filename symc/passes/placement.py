"""Parts without copies: which values can be computed straight into the array that collects them, and which are read
inside the array that they are cut from."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial
from typing import NamedTuple

from symc.core.dtypes import compute_dtype
from symc.ir.graph import Graph, Node, Value
from symc.loopir.expr import Affine, Axis, Expr
from symc.loopir.kernel import Buffer
from symc.loopir.tensor import Product, Region, Tensor

from .meaning import define, meaning_of, same_order
from .phases import Phase


class Inside(NamedTuple):
    """Where a part lies: `offset` elements behind the start of the whole's buffer.

    is_reshaped  whether it lies there densely in a shape of its own, else with the strides of the whole
    """

    whole: Value
    offset: Callable[[Buffer], int]
    is_reshaped: bool = False


def placements(graph: Graph, when: Mapping[Node, Phase]) -> dict[Value, Inside]:
    """Which parts are computed inside which whole.

    A part qualifies when an operator copies it unchanged into a box of its output (Concat, Pad), it is computed by a
    kernel of the same phase in the same memory order, it goes to one place only, and no view of it is taken. Where the
    box is dense, it may be what is copied that is a view, the only one of the part: so do gradients of matrices get
    into the one array of a recurrent layer's parameters.
    """
    found: dict[Value, Inside] = {}
    dense: set[Value] = set()  # wholes with reshaped parts, which therefore lie in one piece
    assemblies = [node for node in graph.nodes if node in graph.facts.group and node.operator.is_assembly]
    products = products_of(graph) if assemblies else {}
    for node in assemblies:
        names = {f"in{k}": v for k, v in enumerate(node.inputs)}
        by_value = {v: n for n, v in names.items()}
        ins = {v: Tensor(n, graph.shape(v), compute_dtype(graph.dtype(v))) for v, n in by_value.items()}
        t = define(graph, node, ins.__getitem__)
        for region in t.regions.get(0, ()):
            corner = copied_box(region)
            if corner is None:
                continue
            copied = names[region.value.data[0]]
            is_dense = _is_dense(graph, copied, node[0])
            part = _seen_as(graph, copied) if is_dense else copied
            if part in found or (part in dense and not is_dense) or not _is_computed_for(graph, when, node, part):
                continue
            is_reshaped = part != copied
            if is_reshaped or _qualifies(graph, node, part, products):
                found[part] = Inside(node[0], partial(_distance, corner), is_reshaped)
                if is_reshaped or part in dense:
                    dense.add(node[0])
    return found


def _seen_as(graph: Graph, view: Value) -> Value:
    """The row-major value that is read through `view` alone, which is read once; `view` itself where there is none."""
    v = view
    while not v.node.is_input and v.node not in graph.facts.group:
        if v in graph.output_values or len(graph.users[v]) != 1:
            return view
        v = v.node.inputs[0]
    return v if len(graph.users[v]) == 1 and graph.layout(v).is_row_major else view


def slices(graph: Graph, placed: Container[Value]) -> dict[Value, Inside]:
    """Which slices are read inside the array that they are cut from, and never stored.

    A slice qualifies when it is an unbroken box of a stored array of the same memory order that nobody writes later, is
    neither an output nor placed, and has no reader that needs dense memory, or is dense itself.
    """
    found: dict[Value, Inside] = {}
    scattered: set[Value] = set()  # slices whose rows are not one after the other
    products = products_of(graph)
    for node in graph.nodes:
        meaning = None if node.is_input else meaning_of(graph, node)
        if meaning is None or meaning.kind != "map" or len(meaning.bodies) != node.n_outputs:
            continue
        for part, body in zip((node[k] for k in range(node.n_outputs)), meaning.bodies):
            corner = _corner_of(body, meaning.axes)
            if corner is None or part in placed:
                continue
            whole = node.inputs[int(body.data[0].removeprefix("in"))]
            is_dense = _is_dense(graph, part, whole) and whole not in scattered and whole not in placed
            if _is_kept(graph, whole, part.node) and _is_read_anywhere(graph, part, whole, is_dense, products):
                found[part] = Inside(whole, partial(_distance, corner))
                if not is_dense:
                    scattered.add(part)
    return found


def _corner_of(value: Expr, axes: tuple[Axis, ...]) -> tuple[int, ...] | None:
    """Where the box starts of a value that is an input's element at a fixed distance; None when it is anything else."""
    if value.op != "load" or len(value.data[1]) != len(axes):
        return None
    corner = []
    for axis, i in zip(axes, value.data[1]):
        if isinstance(i, Expr):
            return None
        distance = i - axis if i.terms else i
        if distance.terms or (axis.extent > 1 and not i.terms):
            return None
        corner.append(distance.constant)
    return tuple(corner)


def _is_kept(graph: Graph, whole: Value, reader: Node) -> bool:
    """Whether a value lies in memory, outside the kernel that computes `reader`, for as long as anybody may read it."""
    while whole.node.op is not None and meaning_of(graph, whole.node).kind == "view":
        whole = whole.node.inputs[0]
    if whole.node.is_input:
        return whole.node.role not in ("aux", "accumulator")
    group = graph.facts.group
    return whole.node in group and group[whole.node] != group[reader]


def _is_read_anywhere(graph: Graph, part: Value, whole: Value, is_dense: bool, products: Mapping[int, Product]) -> bool:
    if part in graph.output_values or graph.dtype(part) != graph.dtype(whole):
        return False
    if not same_order(graph.layout(part).order, graph.layout(whole).order, graph.shape(whole)):
        return False
    users = [user for user, _ in graph.users.get(part, ())]
    if is_dense:
        return all(u in graph.facts.group and meaning_of(graph, u).kind != "template" for u in _seen(graph, users))
    if any(u not in graph.facts.group or meaning_of(graph, u).kind in ("template", "loop") for u in users):
        return False
    return _suits(graph, part, whole, users, products)


def _is_dense(graph: Graph, part: Value, whole: Value) -> bool:
    """Whether a part is a range of the outermost axis of an array in row-major order, and dense if that is."""
    return graph.layout(whole).is_row_major and graph.shape(part)[1:] == graph.shape(whole)[1:]


def _seen(graph: Graph, users: Iterable[Node]) -> list[Node]:
    """The users of a value, those of its views in place of the views; a view that is an output stays."""
    found: list[Node] = []
    waiting = list(users)
    while waiting:
        user = waiting.pop()
        if user in graph.facts.group or user[0] in graph.output_values:
            found.append(user)
        else:
            waiting += [u for u, _ in graph.users.get(user[0], ())]
    return found


def lies_already(region: Region, in_place: Mapping[str, int], whole: Buffer) -> bool:
    """Whether a region would copy a placed part to where it lies; `in_place` has each part's offset by its buffer."""
    corner = copied_box(region)
    return corner is not None and in_place.get(region.value.data[0]) == _distance(corner, whole)


def copied_box(region: Region) -> tuple[int, ...] | None:
    """Where the box starts that a region fills with an input, element by element; None when it does anything else."""
    if region.mode != "set" or region.value.op != "load" or len(region.index) != len(region.axes):
        return None
    if region.value.data[1] != tuple(Affine.of(a) for a in region.axes):
        return None
    corner = []
    for axis, i in zip(region.axes, region.index):
        if isinstance(i, Expr):  # where elements go is read from an array
            return None
        i = Affine.of(i)
        if axis.extent == 1:
            i = Affine(tuple(t for t in i.terms if t[0] != axis), i.constant)
        elif i.coefficient(axis) != 1 or len(i.terms) != 1:
            return None
        if any(a is not axis for a in i.axes()):
            return None
        corner.append(i.constant)
    return tuple(corner)


def products_of(graph: Graph) -> dict[int, Product]:
    """The contraction of each group that has one."""
    products = ((g, meaning_of(graph, node).product) for node, g in graph.facts.group.items())
    return {g: product for g, product in products if product is not None}


def _suits(graph: Graph, part: Value, whole: Value, users: Iterable[Node], products: Mapping[int, Product]) -> bool:
    """Whether the contractions in whose kernels users run can reach a part of an array where it lies.

    The rows beside a contraction's sums, and the pixels of a weight gradient's operands, must be evenly spaced: they
    are if the part has all of the array's extents but in the channels, or but in the outermost axis. The sums of a
    weight gradient lie across several axes.
    """
    shape, parts = graph.shape(whole), graph.shape(part)
    outermost = next((a for a in graph.layout(whole).order if shape[a] != 1), None)
    differing = {a for a, (n, m) in enumerate(zip(shape, parts)) if n != m and a != outermost}

    def suits(user: Node) -> bool:
        product = products.get(graph.facts.group[user])
        if product is None:
            return True
        is_operand = part in user.inputs and meaning_of(graph, user).product is not None
        if is_operand == (product.kind == "weight_gradient"):
            return differing == {product.channel_axis}
        return is_operand

    return not differing or all(suits(user) for user in users)


def _distance(corner: tuple[int, ...], whole: Buffer) -> int:
    return sum(stride * start for stride, start in zip(whole.strides, corner))


def _is_computed_for(graph: Graph, when: Mapping[Node, Phase], whole: Node, part: Value) -> bool:
    """Whether a kernel computes `part`, which is no output, when another one assembles `whole`."""
    producer, group = part.node, graph.facts.group
    if producer not in group or group[producer] == group[whole] or part in graph.output_values:
        return False
    if graph.dtype(part) != graph.dtype(whole[0]) or when[producer] != when[whole]:
        return False
    return meaning_of(graph, producer).kind not in ("template", "loop")  # these fill dense memory


def _qualifies(graph: Graph, whole: Node, part: Value, products: Mapping[int, Product]) -> bool:
    """Whether all that a computed part goes through can reach it inside `whole`."""
    users = graph.users.get(part, ())
    if sum(user is whole for user, _ in users) != 1 or any(user not in graph.facts.group for user, _ in users):
        return False  # collected twice, or seen through a memory view, which must be dense
    if any(user.bodies for user, _ in users):
        return False  # rows of it must be dense
    if not same_order(graph.layout(part).order, graph.layout(whole[0]).order, graph.shape(part)):
        return False
    return _suits(graph, part, whole[0], [part.node, *(user for user, _ in users if user is not whole)], products)
