"""Loop nests for any device: form (what is accessed how), groups, the plan as a value, layout, the walker."""
