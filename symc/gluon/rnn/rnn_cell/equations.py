"""What LSTM and GRU compute from the sums of their gates, for cells whose inner names are automatic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def lstm_step(
    F: Any, gates: Any, c: Any, activate: Callable[..., Any], prefix: str, out: str, axis: int = 1
) -> tuple[Any, Any]:
    """New h and c from the gates i, f, c, o, side by side along an axis, and the old c.  Hochreiter (1997)."""
    parts = F.SliceChannel(gates, num_outputs=4, axis=axis, name=f"{prefix}slice")
    i = F.Activation(parts[0], act_type="sigmoid", name=f"{prefix}i")
    f = F.Activation(parts[1], act_type="sigmoid", name=f"{prefix}f")
    candidate = activate(parts[2], name=f"{prefix}c")
    o = F.Activation(parts[3], act_type="sigmoid", name=f"{prefix}o")
    c = F.elemwise_add(f * c, i * candidate, name=f"{prefix}state")
    return F.elemwise_mul(o, activate(c), name=out), c


def gru_step(
    F: Any, i2h: Any, h2h: Any, h: Any, activate: Callable[..., Any], prefix: str, out: str, axis: int = 1
) -> Any:
    """The new h from the gates r, z, o, side by side along an axis, and the old h.  Cho (2014), the form of cuDNN."""
    xr, xz, xn = F.SliceChannel(i2h, num_outputs=3, axis=axis, name=f"{prefix}i2h_slice")
    hr, hz, hn = F.SliceChannel(h2h, num_outputs=3, axis=axis, name=f"{prefix}h2h_slice")
    r = F.Activation(xr + hr, act_type="sigmoid", name=f"{prefix}r_act")
    z = F.Activation(xz + hz, act_type="sigmoid", name=f"{prefix}z_act")
    candidate = activate(xn + r * hn, name=f"{prefix}h_act")
    return F.elemwise_add((1.0 - z) * candidate, z * h, name=out)
