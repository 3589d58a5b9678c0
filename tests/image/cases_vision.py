"""Transforms and datasets of mx.gluon.data.vision, for MXNet (its Python 3.8) and for symc; see cases.py."""

import os
import random
import shutil
import tempfile

import numpy as np

CASES = {}


def picture(mx, *shape):
    return mx.nd.array(np.arange(np.prod(shape)).reshape(shape) * 7 % 251, dtype="uint8")


def case(name, make, shape=(9, 12, 3), to_float=False):
    def run(mx, path):
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002 - MXNet draws from it
        transform = make(mx.gluon.data.vision.transforms)
        image = picture(mx, *shape)
        return [transform(image.astype("float32") if to_float else image) for _ in range(2)]

    CASES[name] = run


case("to tensor", lambda t: t.ToTensor())
case("batch to tensor", lambda t: t.ToTensor(), (2, 5, 4, 3))
case("cast", lambda t: t.Cast("float16"))
case("normalize", lambda t: t.Normalize((1, 2, 3), (2, 4, 8)), (3, 5, 4), True)
case("normalize by one number", lambda t: t.Normalize(3, 2), (2, 3, 5, 4), True)
for _interpolation in (0, 1, 3):
    case(f"resize {_interpolation}", lambda t, way=_interpolation: t.Resize(6, interpolation=way))
case("resize the shorter edge", lambda t: t.Resize(6, keep_ratio=True))
case("resize to a size", lambda t: t.Resize((5, 8)))
case("resize a batch", lambda t: t.Resize((5, 8)), (2, 5, 4, 3))
case("resize floats", lambda t: t.Resize((5, 8)), to_float=True)
case("crop and resize", lambda t: t.CropResize(1, 2, 6, 5, (4, 3), 1))
case("crop", lambda t: t.CropResize(1, 2, 6, 5))
case("crop a batch", lambda t: t.CropResize(1, 2, 2, 3), (2, 5, 4, 3))
case("centre", lambda t: t.CenterCrop((5, 7)))
case("centre of one number", lambda t: t.CenterCrop(20))
case("random crop", lambda t: t.RandomResizedCrop((5, 6)))
case("random crop of one number", lambda t: t.RandomResizedCrop(5, (0.5, 0.9), (1, 2)))
case("rotate", lambda t: t.Rotate(20, zoom_out=True), (3, 6, 8), True)
case("random rotation", lambda t: t.RandomRotation((-30, 30), zoom_in=True), (3, 6, 8), True)
case("perhaps rotate", lambda t: t.RandomRotation((-30, 30), rotate_with_proba=0.3), (3, 6, 8), True)
case("apply", lambda t: t.RandomApply(t.CenterCrop(5), 0.6))
case(
    "compose",
    lambda t: t.Compose([t.Resize(8), t.CenterCrop(6), t.RandomResizedCrop(5), t.ToTensor(), t.Normalize(0.5, 0.25)]),
)


def folder_dataset(mx, path):
    folder = tempfile.mkdtemp()
    try:
        for k, (kind, name) in enumerate((("b", "small.png"), ("a", "alpha.png"), ("b", "colour.jpg"))):
            os.makedirs(os.path.join(folder, kind), exist_ok=True)
            shutil.copy(path(name), os.path.join(folder, kind, "%d%s" % (k, os.path.splitext(name)[1].upper())))  # noqa: UP031
        found = []
        for flag in (0, 1):
            dataset = mx.gluon.data.vision.ImageFolderDataset(folder, flag, lambda image, label: (image, label + 10))
            items = [(os.path.relpath(name, folder), label) for name, label in dataset.items]
            found += [str(dataset.synsets), str(items), len(dataset)]
            for image, label in (dataset[k] for k in range(3)):
                found += [image, label]
        return found
    finally:
        shutil.rmtree(folder)


def record_dataset(mx, path):
    folder = tempfile.mkdtemp()
    try:
        place = os.path.join(folder, "a")
        writer = mx.recordio.MXIndexedRecordIO(place + ".idx", place + ".rec", "w")
        for k, label in ((5, 2.5), (3, [1, 2])):
            with open(path("small.png"), "rb") as file:
                writer.write_idx(k, mx.recordio.pack((0, label, k, 0), file.read()))
        writer.close()
        found = []
        for flag in (0, 1):
            dataset = mx.gluon.data.vision.ImageRecordDataset(place + ".rec", flag)
            found.append(len(dataset))
            for image, label in (dataset[k] for k in range(2)):
                found += [image, label]
        found.append(len(mx.gluon.data.RecordFileDataset(place + ".rec")[1]))
        return found
    finally:
        shutil.rmtree(folder)


CASES["folder dataset"] = folder_dataset
CASES["record dataset"] = record_dataset
