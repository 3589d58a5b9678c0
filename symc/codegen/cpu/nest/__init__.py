"""Loop nests on the CPU: plan (decides) and schedule (describes); source, vectors and tile (print)."""

from .schedule import schedule_nest

__all__ = ["schedule_nest"]
