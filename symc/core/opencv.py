"""OpenCV, which decodes, encodes and resizes images: an optional package, imported when an image is first touched."""

from __future__ import annotations

import functools
from typing import Any

from .errors import MissingPackageError


@functools.cache
def opencv() -> Any:
    """The module `cv2`; raises MissingPackageError where it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise MissingPackageError(
            f"images need OpenCV ({error}): pip install 'symc[image]', or the package opencv-python-headless"
        ) from None
    return cv2
