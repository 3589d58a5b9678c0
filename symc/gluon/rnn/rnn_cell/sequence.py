"""Sequences: one array or symbol with a time axis, or a list with one for each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symc import ndarray, symbol
from symc.core.errors import ConflictError
from symc.gluon.parameter import tensor_types
from symc.symbol import Symbol


def _functions_of(data: Any) -> Any:
    """`mx.sym` or `mx.nd`, whichever a sequence or an array is of."""
    first = data if isinstance(data, tensor_types) else data[0]
    return symbol if isinstance(first, Symbol) else ndarray


def _format_sequence(
    length: int | None, inputs: Any, layout: str, merge: bool | None, in_layout: str | None = None
) -> tuple[Any, int, Any, int]:
    """The sequence merged (merge=True), as a list of steps (False) or as it is (None), in the order of `layout`.

    in_layout    how a merged sequence lies now; by default like `layout`
    Gives it with the time axis, with `mx.nd` or `mx.sym`, and with the batch size (of symbols: 0).
    """
    if inputs is None:
        raise ConflictError("unroll(inputs=None) has been deprecated. Please create input variables outside unroll.")
    axis = layout.find("T")
    in_axis = axis if in_layout is None else in_layout.find("T")
    F = _functions_of(inputs)
    batch_size = 0
    if isinstance(inputs, tensor_types):
        if F is ndarray:
            batch_size = inputs.shape[layout.find("N")]
        if merge is False:
            return _steps_of(F, inputs, length, in_axis), axis, F, batch_size
    else:
        if length is not None and len(inputs) != length:
            raise ConflictError(f"{len(inputs)} steps are to be unrolled for {length}")
        if F is ndarray:
            batch_size = inputs[0].shape[0]
        if merge is True:
            inputs, in_axis = F.stack(*inputs, axis=axis), axis
    if isinstance(inputs, tensor_types) and axis != in_axis:
        inputs = F.swapaxes(inputs, dim1=axis, dim2=in_axis)
    return inputs, axis, F, batch_size


def _steps_of(F: Any, merged: Any, length: int | None, axis: int) -> list:
    """A list with one array or symbol for each step."""
    if F is ndarray:
        if length is not None and length != merged.shape[axis]:
            raise ConflictError(
                f"{merged.shape[axis]} steps, axis {axis} of {merged.shape}, are to be unrolled for {length}"
            )
        length = merged.shape[axis]
    elif len(merged.list_outputs()) != 1:
        raise ConflictError(
            "unroll doesn't allow grouped symbol as input. Please convert to list with list(inputs) first or let "
            "unroll handle splitting."
        )
    return _listed(F.split(merged, axis=axis, num_outputs=length, squeeze_axis=1))


def _listed(parts: Any) -> list:
    """What `split` gives, as a list: of one part it gives that part."""
    return [parts] if isinstance(parts, ndarray.NDArray) else list(parts)


def _mask_sequence_variable_length(
    F: Any, data: Any, length: int, valid_length: Any, time_axis: int, merge: bool | None
) -> Any:
    """The sequence with 0 from the valid length (N,) of each on: merged, or as a list."""
    if not isinstance(data, tensor_types):
        data = F.stack(*data, axis=time_axis)
    masked = F.SequenceMask(data, sequence_length=valid_length, use_sequence_length=True, axis=time_axis)
    if merge:
        return masked
    return _listed(F.split(masked, num_outputs=length, axis=time_axis, squeeze_axis=True))


def _reverse_sequences(sequences: Sequence[Any], unroll_step: int, valid_length: Any = None) -> list:
    """The steps from the last to the first; with valid lengths (N,) what lies beyond them stays where it is."""
    if valid_length is None:
        return list(reversed(sequences))
    F = _functions_of(sequences)
    turned = F.SequenceReverse(F.stack(*sequences, axis=0), sequence_length=valid_length, use_sequence_length=True)
    return _listed(F.split(turned, axis=0, num_outputs=unroll_step, squeeze_axis=True))
