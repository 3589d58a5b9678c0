"""Routines on a GPU: those that matter have kernels for the threads of a block, all others a thread for each part."""

from .table import schedule_template, scratch_of

__all__ = ["schedule_template", "scratch_of"]
