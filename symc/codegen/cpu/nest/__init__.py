"""Loop nests on the CPU: form (what is accessed how) -> plan (decides) -> layout, source, body (print)."""

from .schedule import schedule_nest

__all__ = ["schedule_nest"]
