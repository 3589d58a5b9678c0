"""Normalizations over the batch, an instance, the channels of a position, or groups of channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from symc.gluon.block import HybridBlock
from symc.gluon.parameter import ParameterDict


def _listed(name: str, settings: dict[str, Any], **more: Any) -> str:
    """`BatchNorm(axis=1, eps=1e-05, in_channels=3)`"""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in (settings | more).items())})"


class _Norm(HybridBlock):
    """A normalization with a factor gamma and an offset beta, trained unless scale and center are False."""

    _pins_untrained = False  # whether what is not trained can never have a gradient

    def _make_affine(
        self, n_channels: int, scale: bool, center: bool, gamma_initializer: Any, beta_initializer: Any
    ) -> None:
        for name, is_trained, init in (("gamma", scale, gamma_initializer), ("beta", center, beta_initializer)):
            parameter = self.params.get(
                name,
                grad_req="write" if is_trained else "null",
                shape=(n_channels,),
                init=init,
                allow_deferred_init=True,
                differentiable=is_trained or not self._pins_untrained,
            )
            setattr(self, name, parameter)


class BatchNorm(_Norm):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, over all axes but `axis` (Ioffe and Szegedy, 2015).

    In training mean and variance are the batch's, and the moving ones follow; else, or with use_global_stats, they are
    the moving ones.
    """

    _pins_untrained = True
    _operator = "BatchNorm"

    def __init__(
        self,
        axis: int = 1,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        use_global_stats: bool = False,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        running_mean_initializer: Any = "zeros",
        running_variance_initializer: Any = "ones",
        in_channels: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._kwargs = {
            "axis": axis, "eps": epsilon, "momentum": momentum, "fix_gamma": not scale,
            "use_global_stats": use_global_stats,
        }  # fmt: skip
        if in_channels != 0:
            self.in_channels = in_channels
        self._make_affine(in_channels, scale, center, gamma_initializer, beta_initializer)
        moving = {"grad_req": "null", "shape": (in_channels,), "allow_deferred_init": True, "differentiable": False}
        self.running_mean = self.params.get("running_mean", init=running_mean_initializer, **moving)
        self.running_var = self.params.get("running_var", init=running_variance_initializer, **moving)

    def cast(self, dtype: Any) -> None:
        """Casts the parameters; they stay float32 where the data becomes float16."""
        super().cast("float32" if np.dtype(dtype) == np.float16 else dtype)

    def hybrid_forward(self, F: Any, x: Any, gamma: Any, beta: Any, running_mean: Any, running_var: Any) -> Any:
        function = F.BatchNorm if self._operator == "BatchNorm" else F.contrib.BatchNormWithReLU
        return function(x, gamma, beta, running_mean, running_var, name="fwd", **self._kwargs)

    def __repr__(self) -> str:
        return _listed(type(self).__name__, self._kwargs, in_channels=self.gamma.shape[0] or None)


class BatchNormReLU(BatchNorm):
    """BatchNorm, and 0 instead of what is negative."""

    _operator = "BatchNormWithReLU"


class InstanceNorm(_Norm):
    """As BatchNorm, over the spatial axes of each example alone (Ulyanov et al., 2016)."""

    def __init__(
        self,
        axis: int = 1,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = False,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        in_channels: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._kwargs = {"eps": epsilon, "axis": axis, "center": center, "scale": scale}
        self._axis = axis
        self._epsilon = epsilon
        self._make_affine(in_channels, scale, center, gamma_initializer, beta_initializer)

    def hybrid_forward(self, F: Any, x: Any, gamma: Any, beta: Any) -> Any:
        if self._axis == 1:
            return F.InstanceNorm(x, gamma, beta, name="fwd", eps=self._epsilon)
        x = x.swapaxes(1, self._axis)
        return F.InstanceNorm(x, gamma, beta, name="fwd", eps=self._epsilon).swapaxes(1, self._axis)

    def __repr__(self) -> str:
        return _listed(type(self).__name__, self._kwargs, in_channels=self.gamma.shape[0])


class LayerNorm(_Norm):
    """As BatchNorm, over one axis of each position (Ba et al., 2016)."""

    def __init__(
        self,
        axis: int = -1,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        in_channels: int = 0,
        prefix: str | None = None,
        params: ParameterDict | None = None,
    ) -> None:
        super().__init__(prefix=prefix, params=params)
        self._kwargs = {"eps": epsilon, "axis": axis, "center": center, "scale": scale}
        self._axis = axis
        self._epsilon = epsilon
        self._make_affine(in_channels, scale, center, gamma_initializer, beta_initializer)

    def hybrid_forward(self, F: Any, data: Any, gamma: Any, beta: Any) -> Any:
        return F.LayerNorm(data, gamma=gamma, beta=beta, axis=self._axis, eps=self._epsilon)

    def __repr__(self) -> str:
        return _listed(type(self).__name__, self._kwargs, in_channels=self.gamma.shape[0])


class GroupNorm(_Norm):
    """As BatchNorm, over groups of channels of each example (Wu and He, 2018); gamma and beta are one a group."""

    def __init__(
        self,
        num_groups: int = 1,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        prefix: str | None = None,
        params: ParameterDict | None = None,
    ) -> None:
        super().__init__(prefix=prefix, params=params)
        self._kwargs = {"eps": epsilon, "num_groups": num_groups, "center": center, "scale": scale}
        self._num_groups = num_groups
        self._epsilon = epsilon
        self._make_affine(num_groups, scale, center, gamma_initializer, beta_initializer)

    def hybrid_forward(self, F: Any, data: Any, gamma: Any, beta: Any) -> Any:
        return F.GroupNorm(data, gamma=gamma, beta=beta, num_groups=self._num_groups, eps=self._epsilon)

    def __repr__(self) -> str:
        return _listed(type(self).__name__, self._kwargs)
