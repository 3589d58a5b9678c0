"""`mx.nd.image`: images (H, W, C) of one or three channels, turned, cut, resized and recoloured.

Random ones draw anew at every run.  As in MXNet their gradient is that of a copy, and colours of uint8 are cut to
0..255 before they lose their fraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from symc.core.errors import ParameterError, ShapeError
from symc.core.shapes import Shape, mx_text, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, declares_parameters, op, param
from symc.ops.rules.composite import Composite
from symc.ops.rules.terms import Term, flows

GREY = (0.299, 0.587, 0.114)  # of red, green, blue
# Eigenvectors of the colours of ImageNet's pictures times their eigenvalues (Krizhevsky and others, 2012).
LIGHT = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
LIGHT = (LIGHT * [55.46, 4.794, 1.148]).astype(np.float32)


def check_image(shape: Shape | None, ranks: tuple[int, ...] = (3,), axis: int = -1) -> None:
    """Raises ShapeError for what is no image, or has other than one or three channels along `axis`."""
    if shape is None:
        return
    if len(shape) not in ranks:
        raise ShapeError(f"an image must have {' or '.join(map(str, ranks))} dimensions, got {mx_text(shape)}")
    if shape[axis] not in (None, 1, 3):
        raise ShapeError(f"an image must have 1 or 3 channels along axis {axis}, got {mx_text(shape)}")


# -- where pixels are -----------------------------------------------------------------------------------------------


@op("_image_to_tensor", aliases=("_npx__image_to_tensor",))
class ToTensor(Composite):
    """(H, W, C) or (N, H, W, C) of 0..255 -> (C, H, W) or (N, C, H, W) float32 of 0..1.

    MXNet operator _image_to_tensor; as there, its gradient is the head gradient's elements in the order they have.
    """

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None:
            return ins, outs
        if len(data) not in (3, 4):
            raise ShapeError(f"an image must have 3 or 4 dimensions, got {mx_text(data)}")
        return ins, [unify(outs[0], (*data[:-3], data[-1], *data[-3:-1]))]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, ["float32"]

    def compose(self, *x: Term) -> Sequence[Term]:
        lead = tuple(range(len(x[0].shape) - 3))
        at = len(lead)
        turned = x[0]("transpose", axes=(*lead, at + 2, at, at + 1))
        wide = turned if turned.dtype == "float64" else turned.cast("float32")
        return [(wide / 255.0).cast("float32")]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        data = Term(g, x[0])
        return [Term(g, flows(dy)).reshape(data.shape).cast(data.dtype).value]


@op("_image_normalize", aliases=("_npx__image_normalize",))
class Normalize(Composite):
    """(data - mean) / std for each channel of (C, H, W) or (N, C, H, W).  MXNet operator _image_normalize."""

    mean: tuple[float, ...] = param((0.0, 0.0, 0.0, 0.0), doc="one number for every channel, or one for all")
    std: tuple[float, ...] = param((1.0, 1.0, 1.0, 1.0), doc="the same")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = unify(ins[0], outs[0])
        check_image(data, (3, 4), -3)
        if data is not None and data[-3] is not None:
            for name, numbers in (("mean", self.mean), ("std", self.std)):
                if len(numbers) not in (1, data[-3]):
                    raise ShapeError(f"{name} must have 1 or {data[-3]} elements, got {len(numbers)}")
        return [data], [data]

    def compose(self, *x: Term) -> Sequence[Term]:
        data = x[0]
        n_channels = data.shape[-3]
        parts = []
        for c in range(n_channels):
            mean, std = (numbers[c % len(numbers)] for numbers in (self.mean, self.std))
            part = data("slice_axis", axis=len(data.shape) - 3, begin=c, end=c + 1)
            wide = part if part.dtype in ("float32", "float64") else part.cast("float32")
            parts.append(((wide - mean) / std).cast(data.dtype))
        return [joined(parts, len(data.shape) - 3)]


@op("_image_crop", aliases=("_npx__image_crop",))
class CropImage(Composite):
    """A rectangle of (H, W, C) or (N, H, W, C).  MXNet operator _image_crop."""

    x: int = param(doc="left edge")
    y: int = param(doc="upper edge")
    width: int = param(doc="width of the result")
    height: int = param(doc="height of the result")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        check_image(data, (3, 4))
        if data is None:
            return ins, outs
        for start, size, extent, name in ((self.y, self.height, data[-3], "y"), (self.x, self.width, data[-2], "x")):
            if start < 0 or size < 1 or (extent is not None and start + size > extent):
                raise ShapeError(f"a crop from {name} = {start} of size {size} lies outside of {mx_text(data)}")
        return ins, [unify(outs[0], (*data[:-3], self.height, self.width, data[-1]))]

    def compose(self, *x: Term) -> Sequence[Term]:
        at = len(x[0].shape) - 3
        rows = x[0]("slice_axis", axis=at, begin=self.y, end=self.y + self.height)
        return [rows("slice_axis", axis=at + 1, begin=self.x, end=self.x + self.width)]


# -- augmentations --------------------------------------------------------------------------------------------------


@declares_parameters
class Augmentation(Op):
    """An image (H, W, C) -> another of the same shape and dtype, with the gradient of a copy."""

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = unify(ins[0], outs[0])
        check_image(data)
        return [data], [data]

    def augment(self, x: Term) -> Term:
        """The result."""
        raise NotImplementedError

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        return [self.augment(Term(g, x[0])).value]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [flows(dy)]


def drawn(x: Term, kind: str, n: int = 1) -> list[Term]:
    """Random numbers (1, 1, 1) in the dtype that an image is computed in."""
    noise = Term(x.g, x.g("_noise", shape=(n, 1, 1), dtype=working(x), kind=kind))
    return [noise("slice_axis", axis=0, begin=k, end=k + 1) for k in range(n)]


def working(x: Term) -> str:
    """The dtype that colours are computed in."""
    return "float64" if x.dtype == "float64" else "float32"


def stored(x: Term, dtype: str) -> Term:
    """Computed colours in an image's dtype."""
    return x("clip", a_min=0.0, a_max=255.0).cast(dtype) if dtype == "uint8" else x.cast(dtype)


def joined(parts: Sequence[Term], axis: int) -> Term:
    """Parts put side by side."""
    first, *others = parts
    return first("Concat", *others, dim=axis, num_args=len(parts)) if others else first


def channels(x: Term) -> list[Term]:
    """Each channel as (H, W, 1)."""
    return [x("slice_axis", axis=2, begin=c, end=c + 1) for c in range(x.shape[2])]


def brightened(x: Term, factor: Term) -> Term:
    """Every colour times a factor (1, 1, 1)."""
    return stored(x.cast(working(x)) * factor, x.dtype)


def contrasted(x: Term, factor: Term) -> Term:
    """Away from the mean grey by a factor."""
    wide = x.cast(working(x))
    grey = reduce(Term.__add__, (c * w for c, w in zip(channels(wide), GREY if x.shape[2] == 3 else (1.0,))))
    mean = grey.sum((0, 1, 2)) / (x.shape[0] * x.shape[1])
    return stored(wide * factor + (1 - factor) * mean, x.dtype)


def saturated(x: Term, factor: Term) -> Term:
    """Away from grey by a factor; MXNet's grey is a part of the blue."""
    if x.shape[2] == 1:
        return x
    wide = x.cast(working(x))
    grey = channels(wide)[2] * GREY[2] * (1 - factor)
    return stored(wide * factor + grey, x.dtype)


def recoloured(x: Term, turn: Term) -> Term:
    """Hues moved round the circle by a part of it, in hue, lightness and saturation as OpenCV has them."""
    if x.shape[2] == 1:
        return x
    r, g, b = (c / 255.0 for c in channels(x.cast(working(x))))
    high, low = (reduce(lambda p, q: p(name, q), (r, g, b)) for name in ("_maximum", "_minimum"))
    spread, light = high - low, (high + low) * 0.5
    is_coloured = spread > float(np.finfo(np.float32).eps)
    part = spread / (light < 0.5).choose(high + low, 2.0 - high - low)
    saturation = is_coloured.choose(part, part.zeros())
    is_red, is_green = high.equals(r), high.equals(g)
    among = is_green.choose((b - r) * 60.0 / spread + 120.0, (r - g) * 60.0 / spread + 240.0)
    hue = is_red.choose((g - b) * 60.0 / spread, among)
    hue = is_coloured.choose((hue < 0.0).choose(hue + 360.0, hue), hue.zeros())
    return stored(joined(_from_hue(hue + turn * 360.0, light, saturation), 2) * 255.0, x.dtype)


def _from_hue(hue: Term, light: Term, saturation: Term) -> list[Term]:
    """Red, green and blue of 0..1."""
    above = (light <= 0.5).choose(light * (saturation + 1.0), light + saturation - light * saturation)
    below = light * 2.0 - above
    sixth = hue / 60.0
    sixth = sixth - (sixth / 6.0)("floor") * 6.0
    sector = sixth("floor")
    rest = sixth - sector
    falling, rising = below + (above - below) * (1.0 - rest), below + (above - below) * rest
    found = [above, falling, below, below, rising, above]  # of red, by sector; green is two behind, blue four

    def colour(behind: int) -> Term:
        *others, last = [(k, found[(k - behind) % 6]) for k in range(6)]
        return reduce(lambda rest, one: sector.equals(float(one[0])).choose(one[1], rest), others, last[1])

    return [colour(0), colour(2), colour(4)]


def lit(x: Term, alphas: Sequence[Term | float]) -> Term:
    """Moved along the main directions of colours, by three numbers."""
    if x.shape[2] == 1:
        return x
    wide = x.cast(working(x))
    moved = [c + reduce(_plus, (a * float(w) for a, w in zip(alphas, row))) for c, row in zip(channels(wide), LIGHT)]
    return stored(joined(moved, 2), x.dtype)


def _plus(a: Term | float, b: Term | float) -> Term | float:
    return a + b


@op("_image_flip_left_right", aliases=("_npx__image_flip_left_right",))
class FlipLeftRight(Augmentation):
    """Columns in reverse order; its gradient is that of a copy.  MXNet operator _image_flip_left_right."""

    def augment(self, x: Term) -> Term:
        return x("reverse", axis=(1,))


@op("_image_flip_top_bottom", aliases=("_npx__image_flip_top_bottom",))
class FlipTopBottom(Augmentation):
    """Rows in reverse order; its gradient is that of a copy.  MXNet operator _image_flip_top_bottom."""

    def augment(self, x: Term) -> Term:
        return x("reverse", axis=(0,))


def perhaps(x: Term, then: Term) -> Term:
    """The one or the other, each every second time."""
    return (drawn(x, "uniform")[0] < 0.5).broadcast_to(x.shape).choose(then, x)


@op("_image_random_flip_left_right", aliases=("_npx__image_random_flip_left_right",))
class RandomFlipLeftRight(FlipLeftRight):
    """The same with probability 1/2.  MXNet operator _image_random_flip_left_right."""

    def augment(self, x: Term) -> Term:
        return perhaps(x, super().augment(x))


@op("_image_random_flip_top_bottom", aliases=("_npx__image_random_flip_top_bottom",))
class RandomFlipTopBottom(FlipTopBottom):
    """The same with probability 1/2.  MXNet operator _image_random_flip_top_bottom."""

    def augment(self, x: Term) -> Term:
        return perhaps(x, super().augment(x))


@declares_parameters
class Enhancement(Augmentation):
    """Colours changed by a random factor."""

    min_factor: float = param(low=0, doc="the smallest factor")
    max_factor: float = param(low=0, doc="the largest factor")

    def factor(self, x: Term) -> Term:
        """A factor (1, 1, 1)."""
        return drawn(x, "uniform")[0] * (self.max_factor - self.min_factor) + self.min_factor


@op("_image_random_brightness", aliases=("_npx__image_random_brightness",))
class RandomBrightness(Enhancement):
    """Colours times a factor.  MXNet operator _image_random_brightness."""

    def augment(self, x: Term) -> Term:
        return brightened(x, self.factor(x))


@op("_image_random_contrast", aliases=("_npx__image_random_contrast",))
class RandomContrast(Enhancement):
    """Distances from the mean grey times a factor.  MXNet operator _image_random_contrast."""

    def augment(self, x: Term) -> Term:
        return contrasted(x, self.factor(x))


@op("_image_random_saturation", aliases=("_npx__image_random_saturation",))
class RandomSaturation(Enhancement):
    """Distances from grey times a factor; as in MXNet, grey is 0.114 of the blue.

    MXNet operator _image_random_saturation.
    """

    def augment(self, x: Term) -> Term:
        return saturated(x, self.factor(x))


@op("_image_random_hue", aliases=("_npx__image_random_hue",))
class RandomHue(Enhancement):
    """Hues turned by a part of the circle.  MXNet operator _image_random_hue."""

    def augment(self, x: Term) -> Term:
        return recoloured(x, self.factor(x))


@op("_image_random_color_jitter", aliases=("_npx__image_random_color_jitter",))
class RandomColorJitter(Augmentation):
    """Brightness, contrast, saturation and hue changed at random, in random order; 0 leaves one out.

    MXNet operator _image_random_color_jitter.
    """

    brightness: float = param(doc="the factor is in 1 - brightness .. 1 + brightness")
    contrast: float = param(doc="the same for contrast")
    saturation: float = param(doc="the same for saturation")
    hue: float = param(doc="the turn is in -hue .. hue")

    def augment(self, x: Term) -> Term:
        """Every step computes all changes and takes the one whose turn it is."""
        steps = [
            (change, size, start)
            for change, size, start in (
                (brightened, self.brightness, 1.0),
                (contrasted, self.contrast, 1.0),
                (saturated, self.saturation, 1.0),
                (recoloured, self.hue, 0.0),
            )
            if size > 0
        ]
        if not steps:
            return x
        numbers = drawn(x, "uniform", len(steps))
        factors = [start + (u * 2.0 - 1.0) * size for u, (_, size, start) in zip(numbers, steps)]
        order = joined(drawn(x, "uniform", len(steps)), 0)("argsort", axis=0, dtype="int32")
        for turn in range(len(steps)):
            chosen = order("slice_axis", axis=0, begin=turn, end=turn + 1)
            changed = [change(x, factor) for (change, *_), factor in zip(steps, factors)]
            taken = changed[0]
            for k, other in enumerate(changed[1:], 1):
                taken = chosen.equals(k).broadcast_to(x.shape).choose(other, taken)
            x = taken
        return x


@op("_image_adjust_lighting", aliases=("_npx__image_adjust_lighting",))
class AdjustLighting(Augmentation):
    """Colours moved along the main directions of ImageNet's.  MXNet operator _image_adjust_lighting."""

    alpha: tuple[float, ...] = param(doc="how far along each of the three")

    def augment(self, x: Term) -> Term:
        if len(self.alpha) != 3:
            raise ParameterError(f"_image_adjust_lighting: alpha must be three numbers, got {self.alpha}")
        return lit(x, [float(np.float32(a)) for a in self.alpha])


@op("_image_random_lighting", aliases=("_npx__image_random_lighting",))
class RandomLighting(Augmentation):
    """The same by three normal numbers.  MXNet operator _image_random_lighting."""

    alpha_std: float = param(0.05, doc="their standard deviation")

    def augment(self, x: Term) -> Term:
        return lit(x, [n * self.alpha_std for n in drawn(x, "normal", 3)])
