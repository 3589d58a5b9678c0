"""Kernels of irregular work, written by hand as Python functions that any device's compiler can make its own."""
