"""Images sampled and resized, regions, detection."""

from . import correlation as correlation
from . import deformable as deformable
from . import deformable_regions as deformable_regions
from . import detection as detection
from . import image_resize as image_resize
from . import images as images
from . import multibox as multibox
from . import proposal as proposal
from . import regions as regions
from . import resize as resize
from . import sampling as sampling
