"""Packs images into record files, as MXNet's im2rec.py does: first a list (--list), then the records that it lists."""

from __future__ import annotations

import argparse
import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symc.core.errors import FormatError
from symc.core.replacing import replacing

from .report import Report, UsageError, complain, counted, writing
from .targets import add_force_argument, require_free

EXAMPLES = (
    "symc im2rec flowers pictures/ --list --recursive --train-ratio 0.9",
    "symc im2rec flowers pictures/ --resize 256 --quality 90 --num-thread 4",
    "symc im2rec flowers pictures/ --pass-through --json",
)
SHUFFLE_SEED = 100  # MXNet's: equal folders give equal lists
DEFAULT_QUALITY = {".jpg": 95, ".png": 3}
N_TOLD = 10  # broken images that are named one by one
AHEAD = 4  # images that are being encoded, for each thread


@dataclass(frozen=True)
class Listed:
    """A line of a list: the image's id, its path below the root, its labels."""

    id: int
    path: str
    labels: Sequence[float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MXNet's arguments."""
    parser.add_argument("prefix", metavar="PREFIX", help="begins the names of the lists, and of the record files")
    parser.add_argument("root", metavar="ROOT", help="folder of the images")
    lists = parser.add_argument_group("lists")
    lists.add_argument("--list", action="store_true", help="write PREFIX.lst, not records")
    lists.add_argument(
        "--exts",
        nargs="+",
        metavar="EXT",
        default=[".jpeg", ".jpg", ".png"],
        help="endings of images (.jpeg .jpg .png)",
    )
    lists.add_argument("--chunks", type=int, default=1, metavar="N", help="write N lists, PREFIX_0.lst and so on")
    lists.add_argument("--train-ratio", type=float, default=1.0, metavar="R", help="part for PREFIX_train.lst (1)")
    lists.add_argument("--test-ratio", type=float, default=0.0, metavar="R", help="part for PREFIX_test.lst (0)")
    lists.add_argument("--recursive", action="store_true", help="go into folders; each is a class, numbered in order")
    lists.add_argument("--no-shuffle", dest="shuffle", action="store_false", help="leave the images in order")
    records = parser.add_argument_group("records, of every list that begins with PREFIX")
    records.add_argument("--pass-through", action="store_true", help="take the files as they are")
    records.add_argument("--resize", type=int, default=0, metavar="N", help="make the shorter edge N")
    records.add_argument("--center-crop", action="store_true", help="cut to the square in the middle")
    records.add_argument("--quality", type=int, metavar="Q", help="JPEG: 1 to 100 (95), PNG: 1 to 9 (3)")
    records.add_argument("--num-thread", type=int, default=1, metavar="N", help="threads that encode (1)")
    records.add_argument(
        "--color", type=int, default=1, choices=(-1, 0, 1), help="1: colours, 0: grey, -1: as the file has it (1)"
    )
    records.add_argument("--encoding", default=".jpg", choices=(".jpg", ".png"), help="of the images (.jpg)")
    records.add_argument("--pack-label", action="store_true", help="pack all labels of a line, not the first alone")
    add_force_argument(parser)


def execute(args: argparse.Namespace) -> Report:
    """Writes lists, or records."""
    if not Path(args.root).is_dir():
        raise UsageError(f"{args.root}: no such folder")
    for name in ("chunks", "num_thread"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(args, name)}, expected 1 or more")
    return _lists(args) if args.list else _records(args)


# -- lists ----------------------------------------------------------------------------------------------------------


def _lists(args: argparse.Namespace) -> Report:
    train, test = args.train_ratio, args.test_ratio
    if not (0 < train <= 1 and 0 <= test <= 1 and train + test <= 1):
        raise UsageError(f"--train-ratio {train} and --test-ratio {test}, expected parts of 1")
    images, folders = _found(args.root, args.recursive, {e.lower() for e in args.exts})
    if not images:
        raise UsageError(f"{args.root}: no image ending in {', '.join(args.exts)}; --recursive goes into folders")
    if args.shuffle:
        random.Random(SHUFFLE_SEED).shuffle(images)
    files = {Path(f"{args.prefix}{end}.lst"): part for end, part in _parts(images, args)}
    require_free(files, args)
    for path, part in files.items():
        with replacing(path) as unfinished, writing(path):
            unfinished.write_text("".join(map(_line, part)), encoding="utf-8", errors="surrogateescape", newline="\n")
    data = {
        "lists": [{"path": str(path), "n_images": len(part)} for path, part in files.items()],
        "classes": folders,
    }
    lines = [f"{path}: {len(part)} images" for path, part in files.items()]
    return Report(data, "\n".join([*(f"{folder} {k}" for folder, k in folders.items()), *lines]))


def _found(root: str, recursive: bool, endings: set[str]) -> tuple[list[Listed], dict[str, int]]:
    """The images of a folder in order, and the classes of its folders."""
    folders: dict[str, int] = {}
    images: list[Listed] = []
    for folder, below, names in os.walk(root, followlinks=True):
        below.sort()
        found = [n for n in sorted(names) if os.path.splitext(n)[1].lower() in endings]
        if found and recursive:
            folders[os.path.relpath(folder, root)] = len(folders)
        label = max(0, len(folders) - 1)
        images += [
            Listed(len(images) + k, os.path.relpath(os.path.join(folder, n), root), [label])
            for k, n in enumerate(found)
        ]
        if not recursive:
            break
    return images, folders


def _parts(images: list[Listed], args: argparse.Namespace) -> Iterator[tuple[str, list[Listed]]]:
    """The end of the name of each list, and its images."""
    size = -(-len(images) // args.chunks)
    n_train, n_test = int(size * args.train_ratio), int(size * args.test_ratio)
    for k in range(args.chunks):
        chunk, end = images[k * size : (k + 1) * size], f"_{k}" if args.chunks > 1 else ""
        if args.train_ratio == 1:
            yield end, chunk
            continue
        if args.test_ratio:
            yield f"{end}_test", chunk[:n_test]
        if args.train_ratio + args.test_ratio < 1:
            yield f"{end}_val", chunk[n_test + n_train :]
        yield f"{end}_train", chunk[n_test : n_test + n_train]


def _line(image: Listed) -> str:
    return f"{image.id}\t" + "".join(f"{v:f}\t" for v in image.labels) + f"{image.path}\n"


def _read(path: Path) -> list[Listed]:
    """The images that a list names."""
    found = []
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().split("\t")]
        try:
            if len(cells) < 3:
                raise ValueError
            found.append(Listed(int(cells[0]), cells[-1], [float(v) for v in cells[1:-1]]))
        except ValueError:
            raise FormatError(f"{path}, line {number}: {line!r}, expected `id<tab>label...<tab>path`") from None
    return found


# -- records --------------------------------------------------------------------------------------------------------


def _records(args: argparse.Namespace) -> Report:
    from symc.runtime.table import size_text

    highest = 100 if args.encoding == ".jpg" else 9
    if args.quality is None:
        args.quality = DEFAULT_QUALITY[args.encoding]
    if not 1 <= args.quality <= highest:
        raise UsageError(f"--quality {args.quality}, expected 1 to {highest} for {args.encoding}")
    prefix = Path(os.path.abspath(args.prefix))
    lists = (
        sorted(p for p in prefix.parent.glob("*.lst") if p.name.startswith(prefix.name))
        if prefix.parent.is_dir()
        else []
    )
    if not lists:
        raise UsageError(f"{args.prefix}: no list begins with it; --list makes one of a folder")
    require_free([p.with_suffix(end) for p in lists for end in (".rec", ".idx")], args)
    read = {path: _read(path) for path in lists}
    packed = [_pack_list(path, images, args) for path, images in read.items()]
    n_broken = sum(len(one["broken"]) for one in packed)
    lines = [f"{one['path']}: {one['n_images']} images, {size_text(one['size_bytes'])}" for one in packed]
    lines += [f"{n_broken} images could not be read and are left out"] if n_broken else []
    return Report({"records": packed}, "\n".join(lines), 1 if n_broken else 0)


def _pack_list(path: Path, images: Sequence[Listed], args: argparse.Namespace) -> dict[str, Any]:
    """Writes the records of one list, whole or not at all."""
    from symc.recordio import MXIndexedRecordIO

    target, index, broken = path.with_suffix(".rec"), path.with_suffix(".idx"), []
    with replacing(target) as records, replacing(index) as keys, writing(target):
        writer = MXIndexedRecordIO(keys, records, "w")
        made = _in_order(lambda image: _record(image, args), images, args.num_thread)
        for image, record in counted(zip(images, made), f"packing {target}", len(images)):
            if isinstance(record, bytes):
                writer.write_idx(image.id, record)
                continue
            broken.append({"path": image.path, "why": record})
            if len(broken) <= N_TOLD:
                complain(f"{record}")
        writer.close()
    size = target.stat().st_size
    return {"path": str(target), "n_images": len(images) - len(broken), "size_bytes": size, "broken": broken}


def _in_order(work: Callable[[Any], Any], items: Iterable[Any], n_threads: int) -> Iterator[Any]:
    """What `work` makes of items, by threads, a few of them ahead."""
    with ThreadPoolExecutor(n_threads) as threads:
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append(threads.submit(work, item))
            if len(waiting) > AHEAD * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _record(image: Listed, args: argparse.Namespace) -> bytes | str:
    """The record of an image, or why there is none."""
    from symc.recordio import pack, pack_img

    path = os.path.join(args.root, image.path)
    label = image.labels if args.pack_label and len(image.labels) > 1 else image.labels[0]
    header = (0, label, image.id, 0)
    try:
        if args.pass_through:
            return pack(header, Path(path).read_bytes())
        return pack_img(header, _pixels(path, args), quality=args.quality, img_fmt=args.encoding)
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    except FormatError as error:
        return str(error)


def _pixels(path: str, args: argparse.Namespace) -> Any:
    """The image in a file, cut and resized."""
    from symc.core.opencv import opencv

    cv2 = opencv()
    image = cv2.imread(path, args.color)
    if image is None:
        raise FormatError(f"{path}: {'no image' if os.path.exists(path) else 'No such file'}")
    height, width = image.shape[:2]
    if args.center_crop:
        n = min(height, width)
        top, left = (height - n) // 2, (width - n) // 2
        image = image[top : top + n, left : left + n]
        height = width = n
    if args.resize:
        n = args.resize
        size = (n, height * n // width) if height > width else (width * n // height, n)
        image = cv2.resize(image, size)
    return image
