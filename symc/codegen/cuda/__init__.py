"""NVIDIA GPUs: schedules, kernels as numba.cuda functions, and their compilation to PTX without a driver."""
