"""Loop nests on a GPU."""

from .schedule import schedule_nest as schedule_nest
