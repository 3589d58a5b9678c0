"""Matrix products and convolutions on the CPU: few kernels around register tiles, every extent at run time.

    forward, data gradient   `forward.py`: tiles of pixels x panels of channels, packed weights, offset tables
                             but where rows are evenly spaced and read at a single tap
    both, of 3x3 windows     `winograd.py`, where the estimate in `shapes.py` says that it pays; `winograd_transform.py`
    weight gradient          `weight_gradient.py`: tiles of output channels x panels of (tap, channel), nothing packed
    depthwise, all three     `depthwise.py`; forward and data gradient in strips of columns: in registers (`strips.py`),
                             or from copies of lines (`rings.py`)
    one or two rows          `rows.py`: a matrix that serves them alone is not packed, the product is a loop nest

`planner.py` makes a plan (`plan.py`), with the estimates of `shapes.py` and the cuts of `blocking.py`; `schedule.py`
carries it out. `micro.py` computes a register tile (`tile.py`), `units.py` are the loops around it, `stores.py` stores
its sums; what is not the CPU's own is in `codegen/contraction/`. A forward kernel of bytes is the same one: a step
multiplies words of four channels (`products.py`, emitted by `words.py`) and adds up int32; 460 Gop/s by VNNI where the
table below has 117.

Measured on one thread of a Zen 4 (117 GFLOP/s FMA peak at 512 and at 256 bits), % of that peak, nominal flops; more
than 100 is possible because taps in the padding are skipped.  Batch 1 forward, batch 8 gradients:

    layer               forward 512 / 256   data gradient       weight gradient
    7x7s2 3 -> 64            96 / 96                                56 / 65
    56x56 3x3 64             97 / 98          93 / 95               87 / 77
    28x28 3x3 128           101 / 99          96 / 95               94 / 81
    14x14 3x3 256           107 / 102        106 / 104             100 / 84
    7x7 3x3 512             104 / 87         115 / 110             105 / 80
    3x3s2 64 -> 128          99 / 97          88 / 90               90 / 79
    1x1s2 64 -> 128          89 / 85          42 / 46               89 / 75
    56x56 1x1 64 -> 256      91 / 88          66 / 70               82 / 63
    14x14 1x1 1024 -> 256    98 / 95          87 / 87               89 / 75
    7x7 1x1 512 -> 2048      96 / 82          96 / 94               83 / 60

Winograd's share of the direct kernel's time, same machine, one thread, weights from memory, tiles of 2 x 2 and 4 x 4:
56x56 64 -> 64 0.69, 0.49; 28x28 128 -> 128 0.60, 0.40; 14x14 256 -> 256 0.61, 0.46; 7x7 512 -> 512 0.70, 0.75;
4 images of 7x7 512 -> 512 0.38, 0.26; 56x56 16 -> 64 0.73, 0.54; 5x5 64 -> 64 1.45, 2.1.

The same layers with physically padded inputs (no tap outside, so nothing for the table to skip) run 0 to 9 % slower.
"""

from .planner import candidates, plan_contraction
from .rows import RowsPlan, schedule_rows
from .schedule import schedule_contraction
from .winograd_transform import schedule_weight_transform

__all__ = [
    "RowsPlan",
    "candidates",
    "plan_contraction",
    "schedule_contraction",
    "schedule_rows",
    "schedule_weight_transform",
]
