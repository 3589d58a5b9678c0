"""What tables of cases cannot say of image operators: what is random in them, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.errors import DTypeError, ParameterError, ShapeError

image = mx.nd.image


def picture(*shape: int, dtype: str = "uint8") -> mx.nd.NDArray:
    return mx.nd.array(np.random.default_rng(0).integers(0, 256, shape), dtype=dtype)


@pytest.mark.parametrize("axis", ["left_right", "top_bottom"])
def test_every_second_picture_is_flipped(axis):
    mx.random.seed(5)
    x = picture(4, 5, 3)
    flipped = getattr(image, f"flip_{axis}")(x).asnumpy()
    np.testing.assert_array_equal(flipped, x.asnumpy()[:, ::-1] if axis == "left_right" else x.asnumpy()[::-1])
    n_flipped = 0
    for _ in range(60):
        found = getattr(image, f"random_flip_{axis}")(x).asnumpy()
        is_flipped = (found == flipped).all()
        assert is_flipped or (found == x.asnumpy()).all()
        n_flipped += is_flipped
    assert 15 < n_flipped < 45


def test_factors_fill_their_range():
    mx.random.seed(5)
    x = mx.nd.full((2, 2, 3), 100)
    found = np.array([image.random_brightness(x, 0.5, 1.5).asnumpy() for _ in range(60)])
    assert (found == found[:, :1, :1, :1]).all()  # one factor for all
    assert 50 <= found.min() < 60 and 140 < found.max() <= 150


def test_lighting_is_normal():
    """Of grey pictures the change is LIGHT @ alpha: its variance is the sum of squares of a row."""
    mx.random.seed(5)
    x = mx.nd.zeros((1, 1, 3))
    found = np.array([image.random_lighting(x, alpha_std=0.1).asnumpy().ravel() for _ in range(400)])
    rows = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    expected = 0.1 * np.sqrt(np.square(rows * [55.46, 4.794, 1.148]).sum(axis=1))
    np.testing.assert_allclose(found.std(axis=0), expected, rtol=0.15)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=4 * expected.max() / 20)


def test_colours_jitter_in_any_order():
    """Brightness doubles or not, contrast likewise: the mean of a picture tells which came first."""
    mx.random.seed(5)
    x = picture(6, 6, 3)
    same = image.random_color_jitter(x, 0, 0, 0, 0)
    np.testing.assert_array_equal(same.asnumpy(), x.asnumpy())
    found = [image.random_color_jitter(x, 0.4, 0.3, 0.2, 0.1).asnumpy() for _ in range(8)]
    assert all(f.shape == x.shape and f.dtype == np.uint8 for f in found)
    assert len({f.tobytes() for f in found}) == 8


def test_one_change_alone_is_that_change():
    mx.random.seed(5)
    x = mx.nd.full((2, 2, 3), 100)
    found = np.array([image.random_color_jitter(x, 0.2, 0, 0, 0).asnumpy() for _ in range(40)])
    assert (found == found[:, :1, :1, :1]).all() and 80 <= found.min() < 90 and 110 < found.max() <= 120


def test_the_order_of_changes_is_random():
    """Of (60, 60, 200): bright to 255 and then grey is another picture than grey and then bright."""
    x = mx.nd.array([[[60, 60, 200]]], dtype="uint8")
    symbol = mx.sym.image.random_color_jitter(mx.sym.Variable("x"), brightness=1, contrast=0, saturation=1, hue=0)
    executor = symbol.simple_bind(mx.cpu(), x=(1, 1, 3), type_dict={"x": "uint8"})
    kinds = set()
    for seed in range(30):
        mx.random.seed(seed)
        red, _, blue = executor.forward(x=x)[0].asnumpy().ravel().astype(int)
        kinds.add((blue == 255, red > 60))
    assert len(kinds) >= 3


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda x: image.flip_left_right(x.expand_dims(0)), ShapeError, "must have 3 dimensions"),
        (lambda x: image.random_brightness(x[:, :, :2], 1, 1), ShapeError, "must have 1 or 3 channels"),
        (lambda x: image.random_hue(x, -1, 1), ParameterError, "min_factor"),
        (lambda x: image.normalize(x.transpose((2, 0, 1))), ShapeError, "mean must have 1 or 3 elements, got 4"),
        (lambda x: image.crop(x, 4, 0, 3, 1), ShapeError, "from x = 4 of size 3 lies outside"),
        (lambda x: image.crop(x, -1, 0, 3, 1), ShapeError, "from x = -1 of size 3 lies outside"),
        (lambda x: image.resize(x), ShapeError, "size must be one or two positive numbers"),
        (lambda x: image.resize(x, (3, 2, 1)), ShapeError, "size must be one or two positive numbers"),
        (lambda x: image.resize(x, 3, interp=5), ParameterError, "interp must be 0 to 4"),
        (lambda x: image.resize(x.astype("float16"), 3), DTypeError, "must be uint8, float32 or float64"),
        (lambda x: image.adjust_lighting(x, (1, 2)), ParameterError, "alpha must be three numbers"),
    ],
)
def test_refusals(call, kind, message):
    with pytest.raises(kind, match=message):
        call(picture(4, 6, 3))
