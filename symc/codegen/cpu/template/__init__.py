"""Templates on the CPU: one hand-written kernel for each routine, compiled like every other."""

from .schedule import schedule_template

__all__ = ["schedule_template"]
