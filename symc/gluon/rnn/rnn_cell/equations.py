"""What LSTM and GRU compute from the sums of their gates, for cells whose inner names are automatic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def lstm_step(
    F: Any, gates: Any, c: Any, activate: Callable[..., Any], prefix: str, out: str, **along: int
) -> tuple[Any, Any]:
    """New h and c from the gates i, f, c, o, side by side, and the old c.  Hochreiter (1997).

    along   the axis of the gates; where it is not given, files do not name it either, as in MXNet
    """
    parts = F.SliceChannel(gates, num_outputs=4, name=f"{prefix}slice", **along)
    i = F.Activation(parts[0], act_type="sigmoid", name=f"{prefix}i")
    f = F.Activation(parts[1], act_type="sigmoid", name=f"{prefix}f")
    candidate = activate(parts[2], name=f"{prefix}c")
    o = F.Activation(parts[3], act_type="sigmoid", name=f"{prefix}o")
    c = F.elemwise_add(f * c, i * candidate, name=f"{prefix}state")
    return F.elemwise_mul(o, activate(c), name=out), c


def gru_step(
    F: Any, i2h: Any, h2h: Any, h: Any, activate: Callable[..., Any], prefix: str, out: str, **along: int
) -> Any:
    """The new h from the gates r, z, o, as in `lstm_step`, and the old h.  Cho (2014), the form of cuDNN."""
    xr, xz, xn = F.SliceChannel(i2h, num_outputs=3, name=f"{prefix}i2h_slice", **along)
    hr, hz, hn = F.SliceChannel(h2h, num_outputs=3, name=f"{prefix}h2h_slice", **along)
    r = F.Activation(xr + hr, act_type="sigmoid", name=f"{prefix}r_act")
    z = F.Activation(xz + hz, act_type="sigmoid", name=f"{prefix}z_act")
    candidate = activate(xn + r * hn, name=f"{prefix}h_act")
    return F.elemwise_add((1.0 - z) * candidate, z * h, name=out)
