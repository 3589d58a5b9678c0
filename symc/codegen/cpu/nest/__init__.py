"""Loop nests on the CPU: form -> plan (decides) -> layout, source, body (print)."""

from .schedule import schedule_nest

__all__ = ["schedule_nest"]
