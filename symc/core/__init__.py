"""The ground floor: errors, settings, dtypes, partial shapes, typed parameters, the operator base and registry."""

from .undisturbed import imported

imported("numpy")  # before all else: half an import of it cannot be repeated
