"""Branches side by side, pixel shuffles, and batch normalization over devices."""

from __future__ import annotations

import warnings
from typing import Any

from symc import ndarray
from symc.context import num_gpus
from symc.core.errors import ConflictError
from symc.gluon.block import Block, HybridBlock
from symc.gluon.nn import BatchNorm, HybridSequential, Sequential
from symc.gluon.parameter import ParameterDict


class Concurrent(Sequential):
    """Blocks that all get the same input; their outputs are joined along an axis."""

    def __init__(self, axis: int = -1, prefix: str | None = None, params: ParameterDict | None = None) -> None:
        super().__init__(prefix=prefix, params=params)
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return ndarray.concat(*[block(x) for block in self._children.values()], dim=self.axis)


class HybridConcurrent(HybridSequential):
    """HybridBlocks that all get the same input; their outputs are joined along an axis."""

    def __init__(self, axis: int = -1, prefix: str | None = None, params: ParameterDict | None = None) -> None:
        super().__init__(prefix=prefix, params=params)
        self.axis = axis

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.concat(*[block(x) for block in self._children.values()], dim=self.axis)


class Identity(HybridBlock):
    """The input itself: a branch that passes by."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return x


class SparseEmbedding(Block):
    """An Embedding whose weight and gradient are row_sparse; storage is dense."""

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        dtype: Any = "float32",
        weight_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._kwargs = {"input_dim": input_dim, "output_dim": output_dim, "dtype": dtype, "sparse_grad": True}
        self.weight = self.params.get(
            "weight",
            shape=(input_dim, output_dim),
            init=weight_initializer,
            dtype=dtype,
            grad_stype="row_sparse",
            stype="row_sparse",
        )

    def forward(self, x: Any) -> Any:
        return ndarray.Embedding(x, self.weight.row_sparse_data(x), name="fwd", **self._kwargs)

    def __repr__(self) -> str:
        return "{}({input_dim} -> {output_dim}, {dtype})".format(type(self).__name__, **self._kwargs)


class SyncBatchNorm(BatchNorm):
    """BatchNorm over the batches of all devices; on the one device there is, BatchNorm.

    num_devices    how many share the statistics; by default all GPUs
    """

    def __init__(
        self,
        in_channels: int = 0,
        num_devices: int | None = None,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        use_global_stats: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(1, momentum, epsilon, center, scale, use_global_stats, in_channels=in_channels, **kwargs)
        if num_devices is None:
            warnings.warn(
                "Caution using SyncBatchNorm: if not using all the GPUs, please mannually set num_devices", stacklevel=2
            )
            num_devices = max(num_gpus(), 1)
        self._kwargs = {
            "eps": epsilon, "momentum": momentum, "fix_gamma": not scale, "use_global_stats": use_global_stats,
            "ndev": num_devices, "key": self.prefix,
        }  # fmt: skip

    def hybrid_forward(self, F: Any, x: Any, gamma: Any, beta: Any, running_mean: Any, running_var: Any) -> Any:
        return F.contrib.SyncBatchNorm(x, gamma, beta, running_mean, running_var, name="fwd", **self._kwargs)


class _PixelShuffle(HybridBlock):
    """Channels become pixels: (N, C * product of factors, sizes) as (N, C, factor * size for each axis)."""

    _n_axes: int

    def __init__(self, factor: Any) -> None:
        super().__init__()
        self._factors = (int(factor),) * self._n_axes if isinstance(factor, int) else tuple(map(int, factor))
        if len(self._factors) != self._n_axes:
            raise ConflictError(f"wrong length {len(self._factors)}: {type(self).__name__} has {self._n_axes} factors")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._factors})"


class PixelShuffle1D(_PixelShuffle):
    """(N, C * f, W) as (N, C, W * f) (Shi et al., 2016)."""

    _n_axes = 1

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = F.reshape(x, (0, -4, -1, self._factors[0], 0))
        return F.reshape(F.transpose(x, (0, 1, 3, 2)), (0, 0, -3))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._factors[0]})"


class PixelShuffle2D(_PixelShuffle):
    """(N, C * f1 * f2, H, W) as (N, C, H * f1, W * f2) (Shi et al., 2016)."""

    _n_axes = 2

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        f1, f2 = self._factors
        x = F.reshape(x, (0, -4, -1, f1 * f2, 0, 0))
        x = F.reshape(x, (0, 0, -4, f1, f2, 0, 0))
        return F.reshape(F.transpose(x, (0, 1, 4, 2, 5, 3)), (0, 0, -3, -3))


class PixelShuffle3D(_PixelShuffle):
    """(N, C * f1 * f2 * f3, D, H, W) as (N, C, D * f1, H * f2, W * f3)."""

    _n_axes = 3

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        f1, f2, f3 = self._factors
        x = F.swapaxes(F.reshape(x, (0, -4, -1, f1 * f2 * f3, 0, 0, 0)), 2, 3)
        x = F.reshape(F.reshape(x, (0, 0, 0, -4, f1, f2 * f3, 0, 0)), (0, 0, -3, 0, 0, 0))
        x = F.reshape(F.swapaxes(x, 3, 4), (0, 0, 0, 0, -4, f2, f3, 0))
        x = F.swapaxes(F.reshape(x, (0, 0, 0, -3, 0, 0)), 4, 5)
        return F.reshape(x, (0, 0, 0, 0, -3))
