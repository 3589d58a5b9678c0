"""What the iterators have in common that MXNet wrote in C++: keywords alone, and arrays without lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from symc.core.errors import ArgumentError, ArgumentTypeError
from symc.core.params import param, params_of, parse_params
from symc.ndarray import NDArray

from .iterator import FromBatches


@dataclass(frozen=True, kw_only=True)
class Options:
    """What all of these iterators take; more of MXNet's (ctx, silent, verbose) is read and has no effect."""

    batch_size: int = param(low=0, doc="samples of a batch")
    round_batch: bool = param(True, doc="fill the last batch from the beginning, where the next epoch then goes on")
    num_parts: int = param(1, low=1, doc="into how many parts the samples are divided")
    part_index: int = param(0, low=0, doc="which of them this iterator reads")
    dtype: str | None = param(None, choices=("float32", "int32", "int64"), dtype=True, doc="of the data")
    data_name: str = param("data", doc="name of the data")
    label_name: str = param("softmax_label", doc="name of the labels")


def parsed(options: type, given: Mapping[str, Any], who: str) -> Any:
    """An instance of a class of options; what it does not know is ignored, as in MXNet."""
    known = params_of(options)
    return options(**parse_params(options, {k: str(v) for k, v in given.items() if k in known}, who))


class MXDataIter(FromBatches):
    """An iterator that is made with keywords alone and whose batches have one array of data and one of labels.

    Scripts ask `isinstance(batches, mx.io.MXDataIter)` before they reset.
    """

    options: ClassVar[type[Options]]

    def __init__(self, positional: Sequence[Any], given: Mapping[str, Any]) -> None:
        name = type(self).__name__
        if positional:
            raise ArgumentTypeError(f"{name} takes keywords only, got {positional[0]!r}")
        self._options = parsed(self.options, given, name)
        if self._options.part_index >= self._options.num_parts:
            raise ArgumentError(f"{name}: part_index {self._options.part_index} of {self._options.num_parts} parts")
        super().__init__(self._options.batch_size)

    def getdata(self) -> NDArray:
        """The data, not in a list."""
        data: NDArray = super().getdata()[0]
        return data

    def getlabel(self) -> NDArray:
        """The labels, not in a list."""
        label: NDArray = super().getlabel()[0]
        return label
