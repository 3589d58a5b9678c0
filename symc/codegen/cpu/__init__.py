"""Kernels for the CPU: decide (schedule), print (emit), compile, load."""
