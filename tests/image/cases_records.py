"""Iterators over record files of images, without anything random, for MXNet (its Python 3.8) and for symc."""

import os
import shutil
import tempfile

FILES = ("colour.jpg", "camera.jpg", "camera_jfif.jpg", "alpha.png", "small.png")
OBJECTS = [2, 5], [0, 0.1, 0.2, 0.5, 0.7], [0, 0.0, 0.3, 1, 1], [7, 0.5, 0.5, 0.5, 0.5]  # the last has no area
CASES = {}


def label_of(k, has_objects):
    """Of image k: its class, or its objects."""
    if not has_objects:
        return k + 1
    head, first, second, empty = OBJECTS
    return head + [k] + first[1:] + second * (k % 3) + empty


def batches(mx, path, iterator, options, n_epochs):
    """Data, labels and pad of every batch over a file of five images."""
    folder = tempfile.mkdtemp()
    try:
        place = os.path.join(folder, "a")
        writer = mx.recordio.MXIndexedRecordIO(place + ".idx", place + ".rec", "w")
        for k, name in enumerate(FILES):
            header = mx.recordio.IRHeader(0, label_of(k, iterator == "ImageDetRecordIter"), 10 + k, 0)
            with open(path(name), "rb") as file:
                writer.write_idx(10 + k, mx.recordio.pack(header, file.read()))
        writer.close()
        with open(place + ".lst", "w") as file:
            file.writelines(f"{10 + k}\t{3 * k}\t{k}\tx\n" for k in range(len(FILES)))
        options = {name: v.replace("PLACE", place) if isinstance(v, str) else v for name, v in options.items()}
        made = getattr(mx.io, iterator)(path_imgrec=place + ".rec", verbose=False, **options)
        found = [str(made.provide_data), str(made.provide_label)]
        for _ in range(n_epochs):
            for batch in made:
                data, label = batch.data[0].asnumpy(), batch.label[0].asnumpy()
                if iterator == "ImageDetRecordIter":  # MXNet leaves whatever was there beside smaller images
                    for image, (_, height, width) in zip(data, label[:, :3].astype(int)):
                        image[:, height:], image[:, :, width:] = 0, 0
                found += [data, label, batch.pad]
            made.reset()
        return found
    finally:
        shutil.rmtree(folder)


def case(name, iterator="ImageRecordIter", n_epochs=1, **options):
    options = {**dict(data_shape=(3, 5, 6), batch_size=2), **options}
    CASES[name] = lambda mx, path: batches(mx, path, iterator, options, n_epochs)


case("records", n_epochs=2)  # in the third one MXNet tells the pad of an earlier batch
case("records lying", data_shape=(3, 13, 18))
case("records standing", data_shape=(3, 18, 13))
case("records uint8", "ImageRecordUInt8Iter", data_shape=(3, 9, 7))
case("records int8", dtype="int8", data_shape=(3, 9, 7), mean_r=12.5, mean_g=200, mean_b=30)
case("records normalized", mean_r=12.5, mean_g=200, mean_b=30, std_r=2.5, std_g=3, std_b=7, scale=0.3, mirror=True)
case("records grey", data_shape=(1, 9, 9), resize=9)
for _method in (0, 1, 2, 3, 4, 9):
    case(f"records resized {_method}", resize=9, data_shape=(3, 8, 8), inter_method=_method)
for _method in (1, 2, 3, 4, 9):
    case(
        f"records turned {_method}",
        rotate=30,
        inter_method=_method,
        data_shape=(3, 8, 8),
        min_random_scale=1.4,
        max_random_scale=1.4,
        max_aspect_ratio=1.3,
        min_aspect_ratio=1.3,
    )
case("records turned and padded", rotate_list="70", fill_value=9, pad=2)
case("records grey and turned", data_shape=(1, 9, 9), rotate=45, pad=3)
case("records of limited size", max_img_size=11, min_img_size=8, data_shape=(3, 8, 8))
case("records cut to squares", max_crop_size=4, min_crop_size=4)
case("records of no random area", random_resized_crop=True)
for _part in range(3):
    case(f"records part {_part}", num_parts=3, part_index=_part, batch_size=1)
    case(f"records indexed part {_part}", path_imgidx="PLACE.idx", num_parts=3, part_index=_part, batch_size=1)
case("records listed", path_imglist="PLACE.lst", label_width=2)

for _name, _options in (
    ("plain", dict(n_epochs=2)),
    ("shrunk", dict(resize_mode="shrink")),
    ("fitted", dict(resize_mode="fit", label_pad_width=30, label_pad_value=-7)),
    ("mirrored", dict(rand_mirror_prob=1, mean_r=3, mean_g=4, mean_b=5, std_r=2, std_g=3, std_b=4, scale=0.5)),
    ("resized", dict(resize=6, inter_method=9)),
):
    case("objects " + _name, "ImageDetRecordIter", **{**dict(data_shape=(3, 9, 10)), **_options})
