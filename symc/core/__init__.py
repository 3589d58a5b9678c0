"""The ground floor: errors, settings, dtypes, partial shapes, typed parameters, the operator base and registry."""
