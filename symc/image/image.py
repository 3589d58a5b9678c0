"""Reading images, and giving them another size: what OpenCV does, over NDArrays (H, W, C).

Sizes are (width, height), rectangles (left, top, width, height), as in MXNet. Images are NDArrays or NumPy arrays,
results NDArrays.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from symc import ndarray as nd
from symc.core.divided import rest_of
from symc.core.errors import ArgumentError, ArgumentTypeError, FormatError
from symc.core.opencv import opencv
from symc.core.reading import contents
from symc.ndarray import NDArray

__getattr__ = rest_of(__name__)  # augmenters and ImageIter
Size = tuple[int, int]  # width, height
Rectangle = tuple[int, int, int, int]  # left, top, width, height

NEAREST, LINEAR, CUBIC, AREA, LANCZOS = range(5)
AUTO, ANY = 9, 10  # by whether the image grows or shrinks; by lot
ATTEMPTS = 10  # at a crop of random area and ratio that fits into the image


def pixels(image: Any) -> np.ndarray:
    """An image's memory as a NumPy array."""
    return np.from_dlpack(image) if isinstance(image, NDArray) else np.asarray(image)


def made(array: np.ndarray, out: NDArray | None = None) -> NDArray:
    """An NDArray over an array of one's own, or `out` filled with it."""
    if out is None:
        return nd.from_numpy(np.require(array, requirements=["C", "O"]))
    if out.shape != array.shape or np.dtype(out.dtype) != array.dtype:
        raise ArgumentError(f"out is {out.shape} {np.dtype(out.dtype)}, expected {array.shape} {array.dtype}")
    out[:] = array
    return out


# -- reading --------------------------------------------------------------------------------------------------------


def decoded(data: Any, flag: int = 1, to_rgb: bool = True) -> np.ndarray:
    """`imdecode` over NumPy arrays."""
    if flag not in (0, 1):
        raise ArgumentError(f"imdecode: flag {flag}, expected 1 for three channels or 0 for grey")
    data = np.frombuffer(data, np.uint8) if isinstance(data, (bytes, bytearray, memoryview)) else pixels(data)
    if data.dtype != np.uint8:
        raise ArgumentError(f"imdecode: a buffer of {data.dtype}, expected the bytes (uint8) of an image")
    cv2 = opencv()
    if _says_its_size(data[:11].tobytes()):
        flag |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(data, flag) if data.size else None
    except cv2.error as error:
        raise FormatError(f"Decoding failed. Invalid image file: {error}") from None
    if image is None:
        raise FormatError(f"Decoding failed. Invalid image file: {data.size} bytes that OpenCV does not know")
    if image.ndim == 2:
        return image[:, :, None]
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, image) if to_rgb else image


def _says_its_size(start: bytes) -> bool:
    """Whether MXNet finds the size in front of the pixels, and then has OpenCV leave the camera's orientation alone."""
    return start.startswith(b"\x89PNG") or (start[:4] == b"\xff\xd8\xff\xe0" and start[6:] == b"JFIF\0")


def imdecode(buf: Any, flag: int = 1, to_rgb: bool = True, out: NDArray | None = None) -> NDArray:
    """The image (H, W, 3), or (H, W, 1) of grey for flag 0, that is encoded in bytes or an array of uint8.

    Red comes first, or blue without `to_rgb`. Raises FormatError where it is no image.
    """
    if not isinstance(buf, (bytes, bytearray, np.ndarray, NDArray)):
        raise ArgumentTypeError(
            f"buf must be of type bytes, bytearray or numpy.ndarray, got {type(buf).__name__}; please convert a str "
            "to bytes"
        )
    return made(decoded(buf, flag, to_rgb), out)


def imread(filename: Any, flag: int = 1, to_rgb: bool = True, out: NDArray | None = None) -> NDArray:
    """The image in a file, as `imdecode` gives it."""
    data = contents(filename)
    try:
        image = decoded(data, flag, to_rgb)
    except FormatError as error:
        raise FormatError(f"{filename}: {error}") from None
    return made(image, out)


# -- another size ---------------------------------------------------------------------------------------------------


def resized(image: np.ndarray, size: Sequence[int], interp: int = LINEAR) -> np.ndarray:
    """An image in another size, by a way that `imresize` knows, AUTO or ANY."""
    if len(size) != 2 or min(size) < 1:
        raise ArgumentError(f"imresize: size {size}, expected a width and a height from 1 on")
    (height, width), (new_width, new_height) = image.shape[:2], size
    interp = _way(interp, (height, width, new_height, new_width))
    cv2 = opencv()
    try:
        found = cv2.resize(image, (new_width, new_height), interpolation=interp)
    except cv2.error as error:
        raise ArgumentError(f"imresize: OpenCV refuses an image {image.shape} of {image.dtype}: {error}") from None
    return found.reshape(new_height, new_width, *image.shape[2:])


def imresize(src: Any, w: int, h: int, interp: int = LINEAR, out: NDArray | None = None) -> NDArray:
    """An image in another size.

    interp   0: nearest pixel, 1: linear, 2: cubic, 3: mean of what a pixel covers, 4: Lanczos's kernel
    """
    return made(resized(pixels(src), (w, h), interp), out)


def _way(interp: int, sizes: Sequence[int] = ()) -> int:
    """The way (0 to 4) that `interp` means for an image of sizes (old height, old width, new height, new width)."""
    if interp == AUTO:
        if not sizes:
            return CUBIC
        old_height, old_width, height, width = sizes
        if height > old_height and width > old_width:
            return CUBIC
        return AREA if height < old_height and width < old_width else LINEAR
    if interp == ANY:
        return random.randint(NEAREST, LANCZOS)
    if interp not in range(LANCZOS + 1):
        raise ArgumentError(f"Unknown interp method {interp}: expected 0 to 4, 9 or 10")
    return interp


_get_interp_method = _way  # MXNet's name, which scripts import


def scale_down(src_size: Size, size: Size) -> Size:
    """A size no larger than the image's, with its ratio kept."""
    (width, height), (w, h) = src_size, size
    if height < h:
        w, h = float(w * height) / h, height  # type: ignore[assignment]
    if width < w:
        w, h = width, float(h * width) / w  # type: ignore[assignment]
    return int(w), int(h)


def resize_short(src: Any, size: int, interp: int = CUBIC) -> NDArray:
    """An image whose shorter edge is `size`, with its ratio kept."""
    image = pixels(src)
    return made(resized(image, short_size(image, size), interp))


def short_size(image: np.ndarray, size: int) -> Size:
    """The size of an image whose shorter edge becomes `size`."""
    height, width = image.shape[:2]
    return (size, size * height // width) if height > width else (size * width // height, size)


def copyMakeBorder(
    src: Any,
    top: int,
    bot: int,
    left: int,
    right: int,
    type: int = 0,
    value: float = 0.0,
    values: Sequence[float] = (),
    out: NDArray | None = None,
) -> NDArray:
    """An image with a border.

    type     0: of a colour, 1: fedcba|abcdefgh|hgfedcb, 2: gfedcb|abcdefgh|gfedcba, 3: aaaaaa|abcdefgh|hhhhhhh,
             4: cdefgh|abcdefgh|abcdefg
    values   the colour, a number for each channel; `value` is one for the first three
    """
    cv2, image = opencv(), pixels(src)
    colour = tuple(values) or (value,) * 3
    try:
        found = cv2.copyMakeBorder(image, top, bot, left, right, type, value=colour)
    except cv2.error as error:
        raise ArgumentError(
            f"copyMakeBorder: OpenCV refuses an image {image.shape} of {image.dtype}: {error}"
        ) from None
    return made(found.reshape(*found.shape[:2], *image.shape[2:]), out)


# -- a part ---------------------------------------------------------------------------------------------------------


def cropped(image: np.ndarray, at: Rectangle, size: Size | None = None, interp: int = CUBIC) -> np.ndarray:
    """`fixed_crop` over NumPy arrays; a view where nothing is resized."""
    left, top, width, height = at
    part = image[top : top + height, left : left + width]
    return part if size is None or (width, height) == tuple(size) else resized(part, size, interp)


def fixed_crop(src: Any, x0: int, y0: int, w: int, h: int, size: Size | None = None, interp: int = CUBIC) -> NDArray:
    """A rectangle of an image, resized to `size` if that is given."""
    return made(cropped(pixels(src), (x0, y0, w, h), size, interp))


def random_crop(src: Any, size: Size, interp: int = CUBIC) -> tuple[NDArray, Rectangle]:
    """A rectangle of a size anywhere in an image, and which it is; smaller images are enlarged."""
    image = pixels(src)
    height, width = image.shape[:2]
    w, h = scale_down((width, height), size)
    at = (random.randint(0, width - w), random.randint(0, height - h), w, h)
    return made(cropped(image, at, size, interp)), at


def center_crop(src: Any, size: Size, interp: int = CUBIC) -> tuple[NDArray, Rectangle]:
    """The middle of an image in a size, and which rectangle that is; smaller images are enlarged."""
    image = pixels(src)
    height, width = image.shape[:2]
    w, h = scale_down((width, height), size)
    at = (int((width - w) / 2), int((height - h) / 2), w, h)
    return made(cropped(image, at, size, interp)), at


def random_size_crop(
    src: Any, size: Size, area: float | tuple[float, float], ratio: tuple[float, float], interp: int = CUBIC, **old: Any
) -> tuple[NDArray, Rectangle]:
    """A rectangle of random area and ratio, resized to `size`, and which it is; the middle where none fits.

    area    the smallest and the largest part of the image; one number is the smallest
    ratio   the smallest and the largest width for a height of 1
    """
    area = _area(area, old, "random_size_crop")
    image = pixels(src)
    height, width = image.shape[:2]
    for _ in range(ATTEMPTS):
        n_pixels = random.uniform(*area) * (height * width)
        tried = np.exp(random.uniform(*np.log(ratio)))
        w, h = round(np.sqrt(n_pixels * tried)), round(np.sqrt(n_pixels / tried))
        if w <= width and h <= height:
            at = (random.randint(0, width - w), random.randint(0, height - h), w, h)
            return made(cropped(image, at, size, interp)), at
    return center_crop(src, size, interp)


def _area(area: Any, old: dict[str, Any], where: str) -> tuple[float, float]:
    """The range of areas; `min_area` is its old name."""
    if "min_area" in old:
        warnings.warn("`min_area` is deprecated. Please use `area` instead.", DeprecationWarning, stacklevel=3)
        area = old.pop("min_area")
    if old:
        raise ArgumentTypeError(f"unexpected keyword arguments for `{where}`: {', '.join(old)}")
    return tuple(area) if isinstance(area, (tuple, list)) else (area, 1.0)


def color_normalize(src: Any, mean: Any, std: Any = None) -> NDArray:
    """(src - mean) / std in float32, with a number for each channel."""
    image = pixels(src).astype(np.float32)
    if mean is not None:
        image -= pixels(mean)
    if std is not None:
        image /= pixels(std)
    return made(image)
