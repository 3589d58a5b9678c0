"""Updates of weights."""

from . import lamb as lamb
from . import lars as lars
from . import multi as multi
from . import rated as rated
from . import updates as updates
