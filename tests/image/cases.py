"""Calls of mx.image over small files, for MXNet (its Python 3.8, when they are recorded) and for symc.

A case is a function of the module and of a function that gives the path of a file of tests/data/image; it returns
arrays, numbers or texts.
"""

import json
import random

import numpy as np

FILES = ("colour.jpg", "grey.jpg", "camera.jpg", "camera_jfif.jpg", "alpha.png", "small.png")
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def seed(n=5):
    random.seed(n)
    np.random.seed(n)  # noqa: NPY002 - MXNet draws from it


def picture(mx, height=14, width=20):
    y, x = np.mgrid[:height, :width]
    return mx.nd.array(np.stack([x * 12, y * 17, (x * y * 5) % 251], axis=2), dtype="uint8")


def _reading(mx, path, name, flag, to_rgb):
    with open(path(name), "rb") as file:
        return mx.image.imdecode(file.read(), flag, to_rgb)


for _name in FILES:
    CASES[f"read {_name}"] = lambda mx, path, name=_name: mx.image.imread(path(name))
    for _flag in (0, 1):
        CASES[f"decode {_name} {_flag}"] = lambda mx, path, name=_name, flag=_flag: _reading(mx, path, name, flag, 0)

for _interp in (0, 1, 2, 3, 4):
    for _size in ((31, 27), (9, 11), (10, 7), (25, 9)):
        CASES[f"resize {_size} {_interp}"] = lambda mx, path, size=_size, interp=_interp: mx.image.imresize(
            picture(mx), size[0], size[1], interp=interp
        )
    CASES[f"resize float {_interp}"] = lambda mx, path, interp=_interp: mx.image.imresize(
        picture(mx).astype("float32"), 11, 9, interp=interp
    )

for _type in (0, 1, 2, 3, 4):
    CASES[f"border {_type}"] = lambda mx, path, type=_type: mx.image.copyMakeBorder(
        picture(mx, 4, 5), 1, 2, 3, 1, type, values=(1, 2, 3)
    )
CASES["border value"] = lambda mx, path: mx.image.copyMakeBorder(picture(mx, 4, 5), 1, 0, 0, 1, value=7)


@case
def short_edge(mx, path):
    return [mx.image.resize_short(picture(mx, *shape), 9, interp=9) for shape in ((14, 20), (20, 13), (8, 7))]


@case
def crops(mx, path):
    seed()
    image = picture(mx)
    found = [mx.image.fixed_crop(image, 2, 3, 8, 5), mx.image.fixed_crop(image, 2, 3, 8, 5, (6, 5), 1)]
    for crop, rectangle in (
        mx.image.random_crop(image, (9, 8), 1),
        mx.image.random_crop(image, (30, 8), 1),
        mx.image.center_crop(image, (9, 8), 1),
        mx.image.center_crop(image, (40, 40), 1),
        mx.image.random_size_crop(image, (9, 8), 0.1, (0.75, 1.3), 1),
        mx.image.random_size_crop(image, (9, 8), (0.2, 0.5), (0.5, 2), 1),
        mx.image.random_size_crop(image, (9, 8), (1.0, 1.0), (9, 10), 1),
    ):
        found += [crop, rectangle]
    return found


@case
def normalized(mx, path):
    return mx.image.color_normalize(picture(mx).astype("float32"), mx.nd.array([1, 2, 3]), mx.nd.array([4, 5, 6]))


@case
def rotated(mx, path):
    image = picture(mx, 6, 8).astype("float32").transpose((2, 0, 1))
    both = mx.nd.stack(image, image)
    return [
        mx.image.imrotate(image, 30),
        mx.image.imrotate(image, -75, zoom_in=True),
        mx.image.imrotate(both, mx.nd.array([10, 200]), zoom_out=True),
    ]


AUGMENTERS = {
    "all": dict(
        resize=12, rand_crop=True, rand_resize=True, rand_mirror=True, mean=True, std=True, brightness=0.3,
        contrast=0.3, saturation=0.3, hue=0.3, pca_noise=0.3, rand_gray=0.5, inter_method=1,
    ),
    "crop": dict(rand_crop=True, mean=np.array([1.0, 2.0, 3.0]), inter_method=3),
    "centre": dict(std=np.array([2.0, 3.0, 4.0]), inter_method=9),
}  # fmt: skip

for _name, _options in AUGMENTERS.items():

    def _augmented(mx, path, options=_options):
        seed()
        augmenters = mx.image.CreateAugmenter((3, 8, 9), **options)
        found = [json.dumps([a.dumps() for a in augmenters])]
        for _ in range(2):
            image = picture(mx)
            for augmenter in augmenters:
                image = augmenter(image)
            found.append(image)
        return found

    CASES[f"augmenters {_name}"] = _augmented


@case
def single_augmenters(mx, path):
    seed()
    image = picture(mx).astype("float32")
    augmenters = [
        mx.image.ForceResizeAug((7, 9), 9),
        mx.image.BrightnessJitterAug(0.5),
        mx.image.ContrastJitterAug(0.5),
        mx.image.SaturationJitterAug(0.5),
        mx.image.HueJitterAug(0.5),
        mx.image.RandomGrayAug(1.0),
        mx.image.LightingAug(0.5, np.array([1.0, 2.0, 3.0]), np.eye(3)),
        mx.image.HorizontalFlipAug(1.0),
        mx.image.SequentialAug([mx.image.CastAug("float64"), mx.image.CastAug()]),
        mx.image.ColorNormalizeAug(None, mx.nd.array([2])),
    ]
    return [found for a in augmenters for found in (json.dumps(a.dumps()), a(image.copy()))]


BOXES = np.array([[0, 0.1, 0.2, 0.5, 0.6, 7], [3, 0.3, 0.3, 0.9, 0.8, 8], [1, 0, 0, 1, 1, 9]], "float32")
DETECTION = {
    "all": dict(
        resize=18, rand_crop=1, rand_pad=1, rand_gray=0.1, rand_mirror=True, mean=True, std=True, brightness=0.1,
        contrast=0.1, saturation=0.1, pca_noise=0.1, hue=0.1, inter_method=1, min_object_covered=[0.1, 0.5],
        area_range=(0.2, 2.0), aspect_ratio_range=(0.5, 2.0),
    ),
    "pad": dict(rand_pad=0.8, inter_method=1, pad_val=(3, 2, 1)),
    "crop": dict(rand_crop=0.8, inter_method=1, min_eject_coverage=0.6, aspect_ratio_range=(0.5, 2.0)),
}  # fmt: skip

for _name, _options in DETECTION.items():

    def _detected(mx, path, options=_options):
        seed(8)
        augmenters = mx.image.CreateDetAugmenter((3, 8, 9), **options)
        found = [json.dumps([a.dumps() for a in augmenters])]
        for _ in range(4):
            image, boxes = picture(mx), BOXES.copy()
            for augmenter in augmenters:
                image, boxes = augmenter(image, boxes)
            found += [image, boxes]
        return found

    CASES[f"detection {_name}"] = _detected


def batches(iterator, n_epochs=2):
    found = []
    for _ in range(n_epochs):
        for batch in iterator:
            found += [batch.data[0].asnumpy().mean(axis=(1, 2, 3)), batch.label[0], batch.pad]
        iterator.reset()
    return found


for _handle in ("pad", "discard", "roll_over"):

    def _listed(mx, path, handle=_handle):
        seed()
        images = [[k, path(name)] for k, name in enumerate(FILES[:5])]
        iterator = mx.image.ImageIter(
            2, (3, 6, 7), imglist=images, path_root="", last_batch_handle=handle, inter_method=1, shuffle=True
        )
        return [str(iterator.provide_data), str(iterator.provide_label), *batches(iterator, 3)]

    CASES[f"iterator {_handle}"] = _listed


@case
def iterator_parts(mx, path):
    images = [[k, 2 * k, path(name)] for k, name in enumerate(FILES)]
    found = []
    for part in range(2):
        iterator = mx.image.ImageIter(
            2, (3, 6, 7), 2, imglist=images, path_root="", num_parts=2, part_index=part, inter_method=1
        )
        found += [str(iterator.provide_label), *batches(iterator)]
    return found


@case
def detection_iterator(mx, path):
    seed()
    images = [[2, 5, k, 0.1, 0.2, 0.5, 0.7] + [k + 1, 0, 0.3, 1, 1] * (k % 3) + [path(f)] for k, f in enumerate(FILES)]
    images.append([3, 5, 9, 0, 0.5, 0.5, 0.5, 0.6, path(FILES[0])])  # its object has no area
    iterator = mx.image.ImageDetIter(
        4, (3, 8, 9), imglist=images[:-1], path_root="", rand_mirror=True, rand_crop=0.5, inter_method=1
    )
    return [str(iterator.provide_data), str(iterator.provide_label), iterator.label_shape, *batches(iterator)]
