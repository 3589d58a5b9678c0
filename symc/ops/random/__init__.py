"""Random numbers, their distributions and densities."""

from . import densities as densities
from . import distributions as distributions
from . import draws as draws
