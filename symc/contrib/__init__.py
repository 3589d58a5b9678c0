"""What MXNet keeps under `mx.contrib`."""

from __future__ import annotations

from . import quantization as quantization
