"""`DataParallelExecutorGroup`: an executor on each context, which share a batch."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symc import ndarray as nd
from symc.core.bounded import BoundedCache
from symc.core.errors import ArgumentError, ConflictError, ShapeError
from symc.io import DataDesc
from symc.ndarray import NDArray

if TYPE_CHECKING:
    from symc.context import Context
    from symc.executor import Executor
    from symc.symbol import Symbol

Executors = tuple["Executor", ...]
_KEPT_SHAPES = 8  # for how many shapes of a batch executors are kept


class DataParallelExecutorGroup:
    """Executors of one symbol, each with its part of the batch; parameters are copies with equal contents.

    The arguments, as many as they are, are MXNet's: scripts make such groups and derive classes of them.

    param_names     arguments that are parameters; with for_training they have gradients, unless fixed
    shared_group    a group whose parameters, gradients and states are taken over (those of equal shape)
    """

    def __init__(
        self,
        symbol: Symbol,
        contexts: Sequence[Context],
        workload: Sequence[float] | None,
        data_shapes: Sequence[DataDesc],
        label_shapes: Sequence[DataDesc] | None,
        param_names: Sequence[str],
        for_training: bool,
        inputs_need_grad: bool,
        shared_group: DataParallelExecutorGroup | None = None,
        logger: Any = logging,
        fixed_param_names: Iterable[str] | None = None,
        grad_req: Any = "write",
        state_names: Iterable[str] | None = None,
        group2ctxs: Any = None,
    ) -> None:
        self.symbol = symbol
        self.contexts = list(contexts)
        self.for_training = for_training
        self.workload = list(workload or [1] * len(self.contexts))
        self.param_names = list(param_names)
        self.aux_names = symbol.list_auxiliary_states()
        self.state_names = list(state_names or ())
        self.logger = logger
        self.group2ctxs = _each(group2ctxs, len(self.contexts))
        data_names = [d.name for d in data_shapes]
        self.grad_req = {
            name: _requested(grad_req, k, name)
            if for_training and self._has_gradient(name, data_names, inputs_need_grad, set(fixed_param_names or ()))
            else "null"
            for k, name in enumerate(symbol.list_arguments())
        }
        outputs = [symbol[k].attr("__layout__") for k in range(len(symbol.list_outputs()))]
        self.output_axes = [DataDesc.get_batch_axis(layout) for layout in outputs]
        self._known: BoundedCache[Any, Executors] = BoundedCache(_KEPT_SHAPES)
        self.execs: Executors = shared_group.execs if shared_group is not None else ()
        self.reshape(data_shapes, label_shapes)

    def _has_gradient(self, name: str, data: list[str], inputs_need_grad: bool, fixed: set[str]) -> bool:
        return (name in self.param_names and name not in fixed) or (name in data and inputs_need_grad)

    def reshape(self, data_shapes: Sequence[DataDesc], label_shapes: Sequence[DataDesc] | None) -> None:
        """Executors for batches of these shapes, over the same parameters; what fails leaves the former ones."""
        given = *data_shapes, *(label_shapes or ())
        sizes = {d.name: d.shape[axis] for d in given if (axis := DataDesc.get_batch_axis(d.layout)) >= 0}
        batch_size = sizes.get(data_shapes[0].name, 0)
        if any(size != batch_size for size in sizes.values()):
            raise ConflictError(f"all data must have the same batch size, got {sizes}")
        slices = _split_input_slice(batch_size, self.workload)
        known = self.symbol.list_arguments()
        described = [d for d in given if d.name in known]
        key = tuple((d.name, tuple(d.shape), str(d.dtype), d.layout) for d in described)
        self.execs = self._known.obtain(key, lambda: self._bound(described, slices))
        self.data_shapes, self.label_shapes = list(data_shapes), None if label_shapes is None else list(label_shapes)
        self.batch_size, self.slices = batch_size, slices

    def _bound(self, described: Sequence[DataDesc], slices: Sequence[slice]) -> Executors:
        made = []
        for k, (ctx, part) in enumerate(zip(self.contexts, slices)):
            shapes = {d.name: _part_shape(d, part) for d in described}
            made.append(
                self.symbol.simple_bind(
                    ctx,
                    self.grad_req,
                    {d.name: d.dtype for d in described},
                    group2ctx=self.group2ctxs[k],
                    shared_arg_names=self.param_names,
                    shared_exec=self.execs[k] if self.execs else None,
                    **shapes,
                )
            )
        for before, after in zip(self.execs, made):
            self._require_same_parameters(before, after)
        return tuple(made)

    def _require_same_parameters(self, before: Executor, after: Executor) -> None:
        """Raises ShapeError where other inputs would need other parameters: what was learned would be left behind."""
        for name in self.param_names:
            old, new = before.arg_dict.get(name), after.arg_dict[name]
            if old is not None and old.shape != new.shape:
                raise ShapeError(
                    f"binding to data of other shapes: parameter {name} would change from {old.shape} to {new.shape}; "
                    "bind(force_rebind=True) begins anew"
                )

    @property
    def param_arrays(self) -> list[list[NDArray]]:
        """The copies of each parameter."""
        return [[e.arg_dict[name] for e in self.execs] for name in self.param_names]

    @property
    def grad_arrays(self) -> list[list[NDArray | None]]:
        """The gradients of each parameter on each context, None where there is none."""
        return [[e.grad_dict[name] for e in self.execs] for name in self.param_names]

    @property
    def aux_arrays(self) -> list[list[NDArray]]:
        """The copies of each auxiliary state."""
        return [[e.aux_dict[name] for e in self.execs] for name in self.aux_names]

    @property
    def _total_exec_bytes(self) -> int:
        """MB that the executors take beside their arrays; of MXNet's name, and MXNet's unit."""
        return sum(e._allocated_mb for e in self.execs)

    def set_params(
        self, arg_params: Mapping[str, NDArray], aux_params: Mapping[str, NDArray], allow_extra: bool = False
    ) -> None:
        """Copies parameters and states to all executors."""
        for executor in self.execs:
            executor.copy_params_from(arg_params, aux_params, allow_extra_params=allow_extra)

    def get_params(self, arg_params: Mapping[str, NDArray], aux_params: Mapping[str, NDArray]) -> None:
        """Writes the mean of the copies of each parameter and state."""
        for names, blocks, targets in (
            (self.param_names, self.param_arrays, arg_params),
            (self.aux_names, self.aux_arrays, aux_params),
        ):
            for name, copies in zip(names, blocks):
                targets[name][:] = copies[0] if len(copies) == 1 else nd.add_n(*copies) / len(copies)

    def forward(self, data: Sequence[NDArray], label: Sequence[NDArray] | None, is_train: bool) -> None:
        """Runs every executor on its part of the batch."""
        given = list(zip(self.data_shapes, data))
        if label:
            given += zip(self.label_shapes or (), label)
        for executor, part in zip(self.execs, self.slices):
            executor.forward(
                is_train=is_train,
                **{d.name: self._part(a, d.layout, part) for d, a in given if d.name in executor.arg_dict},
            )

    def _part(self, array: NDArray, layout: str | None, part: slice) -> NDArray:
        axis = DataDesc.get_batch_axis(layout)
        if axis < 0 or len(self.execs) == 1:
            return array
        return nd.slice_axis(array, axis=axis, begin=part.start, end=part.stop)

    def backward(self, out_grads: Any = None) -> None:
        """Runs every executor back, from its part of the head gradients if there are any.

        Raises ConflictError where the executors only predict.
        """
        if not self.for_training:
            raise ConflictError("re-bind with for_training=True to run backward")
        if out_grads is None:
            for executor in self.execs:
                executor.backward()
            return
        heads = out_grads if isinstance(out_grads, (list, tuple)) else [out_grads]
        for executor, part in zip(self.execs, self.slices):
            is_whole = len(self.execs) == 1
            executor.backward(
                [
                    head if is_whole or axis < 0 else nd.slice_axis(head, axis=axis, begin=part.start, end=part.stop)
                    for head, axis in zip(heads, self.output_axes)
                ]
            )

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        """The outputs, joined, or for each context."""
        found = [list(arrays) for arrays in zip(*(e.outputs for e in self.execs))]
        return _joined(found, self.output_axes) if merge_multi_context else found

    def get_output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes of the outputs for a whole batch."""
        described = (*self.data_shapes, *(self.label_shapes or ()))
        known = self.symbol.list_arguments()
        _, shapes, _ = self.symbol.infer_shape(**{d.name: d.shape for d in described if d.name in known})
        return list(zip(self.symbol.list_outputs(), shapes))

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        """The gradients of the data."""
        found = [[e.grad_dict[d.name] for e in self.execs] for d in self.data_shapes]
        axes = [DataDesc.get_batch_axis(d.layout) for d in self.data_shapes]
        return _joined(found, axes) if merge_multi_context else found

    def get_states(self, merge_multi_context: bool = True) -> list[Any]:
        """The arrays of the arguments that are states."""
        found = [[e.arg_dict[name] for e in self.execs] for name in self.state_names]
        return _joined(found, [0] * len(found)) if merge_multi_context else found

    def set_states(self, states: Sequence[Sequence[NDArray]] | None = None, value: float | None = None) -> None:
        """Sets them: to the arrays of each context, or to a number."""
        if (states is None) == (value is None):
            raise ConflictError("set_states: give either states or a value")
        for k, name in enumerate(self.state_names):
            for n, executor in enumerate(self.execs):
                executor.arg_dict[name][:] = value if states is None else states[k][n]

    def update_metric(self, eval_metric: Any, labels: Sequence[Any], pre_sliced: bool = False) -> None:
        """Adds each executor's outputs to a metric, with its part of the labels."""
        descs = self.label_shapes or []
        for n, (executor, part) in enumerate(zip(self.execs, self.slices)):
            own = labels[n] if pre_sliced else [self._part(a, d.layout, part) for a, d in zip(labels or (), descs)]
            eval_metric.update_dict({d.name: a for d, a in zip(descs, own)}, executor.output_dict)

    def install_monitor(self, mon: Any) -> None:
        """Has a monitor watch all executors."""
        for executor in self.execs:
            mon.install(executor)


def _split_input_slice(batch_size: int, work_load_list: Sequence[float]) -> list[slice]:
    """Parts of a batch in proportion to the loads; raises ArgumentError where one would be empty."""
    total = sum(work_load_list)
    sizes = [round(load * batch_size / total) for load in work_load_list]
    sizes[-1] += batch_size - sum(sizes)
    ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
    if batch_size and min(sizes) <= 0:
        raise ArgumentError(f"Too many slices. Some splits are empty: {batch_size} samples for loads {work_load_list}")
    return [slice(end - size, end) for size, end in zip(sizes, ends)]


def _part_shape(desc: DataDesc, part: slice) -> tuple[int, ...]:
    axis = DataDesc.get_batch_axis(desc.layout)
    size = part.stop - part.start
    return tuple(size if k == axis else extent for k, extent in enumerate(desc.shape))


def _joined(found: Sequence[Sequence[NDArray]], axes: Sequence[int]) -> list[NDArray]:
    return [
        arrays[0] if len(arrays) == 1 or axis < 0 else nd.concat(*arrays, dim=axis) for arrays, axis in zip(found, axes)
    ]


def _requested(grad_req: Any, position: int, name: str) -> str:
    """What is asked for an argument by a word, a list in order, or a mapping from names."""
    if isinstance(grad_req, Mapping):
        return str(grad_req.get(name, "null"))
    return str(grad_req if isinstance(grad_req, str) else grad_req[position])


def _each(group2ctxs: Any, n: int) -> list[Any]:
    """The contexts of groups of nodes for each of n executors.

    group2ctxs   a list of n mappings, or a mapping from groups to contexts, each one for all or a list of 1 or n
    Raises ArgumentError for a list of another length.
    """
    if isinstance(group2ctxs, Mapping):
        lists = {group: c if isinstance(c, list) else [c] for group, c in group2ctxs.items()}
        for group, contexts in lists.items():
            if len(contexts) not in (1, n):
                raise ArgumentError(f"length of group2ctxs[{group}] should be {n} or 1, got {len(contexts)}")
        return [{group: c[k % len(c)] for group, c in lists.items()} for k in range(n)]
    if isinstance(group2ctxs, list):
        if len(group2ctxs) != n:
            raise ArgumentError(f"length of group2ctxs should be {n}, got {len(group2ctxs)}")
        return group2ctxs
    return [group2ctxs] * n
