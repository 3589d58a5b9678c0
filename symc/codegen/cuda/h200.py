"""The GPU that decisions are made for, in numbers.

Those marked * are NVIDIA's, others published measurements, rounded; none has been compared with hardware here.
"""

from __future__ import annotations

PROCESSORS, CLOCK_HZ = 132, 1.98e9  # * at its best
LANES, SCHEDULERS = 128, 4  # * of a processor: threads of which it starts an instruction in a cycle
WARPS, BLOCKS, REGISTERS, SHARED_BYTES = 64, 32, 65_536, 228 << 10  # * that a processor holds at once
REGISTERS_TOGETHER, SHARED_OF_SYSTEM = 256, 1024  # * given to a warp, taken from a block
COPY_BYTES_PER_S = 4.3e12  # of 4.8e12 *: what a copy reaches
L2_BYTES, L2_BYTES_PER_S = 50 << 20, 5.5e12  # * the former
L2_OF_ONE = 2  # times its part of that reaches one processor where others wait: two thirds of 64 bytes a cycle
SHARED_BYTES_PER_CYCLE = 128  # * of a processor
LATENCY_S, NEAR_S = 0.7e-6, 0.25e-6  # from asking for a number to having it: from memory that is busy, from L2
NEAREST_S, DEPENDENT_CYCLES = 17e-9, 4  # to have what lies in L1 or shared memory, or what was just computed
L1_BYTES = 192 << 10  # of a processor, beside shared memory
SHUFFLES_S = 0.07e-6  # to add up what the threads of a warp have found
BARRIER_S = 0.1e-6  # to add up what threads of a block have found: shuffles and two barriers
START_S = 1.5e-6  # of a kernel in a graph, until its first instruction and after its last one
TF32_PER_CYCLE = 1024  # * multiplications and additions by wgmma, twice as many of 16 bits, 4 times of 8
MMA_SHARE = 0.62  # of that by mma.sync
BUSY_WARPS = 16  # of a processor that keep its schedulers supplied
