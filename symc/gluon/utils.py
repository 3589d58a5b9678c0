"""`mx.gluon.utils`: batches split over contexts, clipping of gradients, downloads, and handles of hooks."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.request
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from symc import ndarray
from symc.context import Context
from symc.core.errors import ArgumentError, ConflictError, DownloadError, UsageError
from symc.core.replacing import replacing
from symc.ndarray import NDArray
from symc.util import is_np_shape

__all__ = ["split_data", "split_and_load", "clip_global_norm", "check_sha1", "download", "replace_file"]

CHUNK_BYTES = 1 << 20
REPO_URL = "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/"


def shape_is_known(shape: Sequence[int] | None) -> bool:
    """Whether a shape is there and has no unknown extent: 0, or -1 under `np_shape`, where () is a shape too."""
    if shape is None:
        return False
    return -1 not in shape if is_np_shape() else bool(shape) and 0 not in shape


def split_data(data: NDArray, num_slice: int, batch_axis: int = 0, even_split: bool = True) -> list[NDArray]:
    """The batch in `num_slice` parts along an axis.

    Raises ArgumentError where they would be of unlike sizes, unless even_split=False allows that.
    """
    size = data.shape[batch_axis]
    if even_split and size % num_slice != 0:
        raise ArgumentError(
            f"data with shape {data.shape} cannot be evenly split into {num_slice} slices along axis {batch_axis}. "
            f"Use a batch size that's multiple of {num_slice} or set even_split=False to allow "
            "uneven partitioning of data."
        )
    least, n_longer = divmod(size, num_slice)
    ends = np.cumsum([0] + [least + (k < n_longer) for k in range(num_slice)]).tolist()
    if batch_axis == 0:
        return [data[begin:end] for begin, end in pairwise(ends)]
    return [ndarray.slice_axis(data, axis=batch_axis, begin=begin, end=end) for begin, end in pairwise(ends)]


def split_and_load(
    data: Any, ctx_list: Sequence[Context], batch_axis: int = 0, even_split: bool = True
) -> list[NDArray]:
    """The batch in as many parts as there are contexts, each on its own."""
    if not isinstance(data, NDArray):
        data = ndarray.array(data, ctx=ctx_list[0])
    if len(ctx_list) == 1:
        return [data.as_in_context(ctx_list[0])]
    parts = split_data(data, len(ctx_list), batch_axis, even_split)
    return [part.as_in_context(ctx) for part, ctx in zip(parts, ctx_list)]


def clip_global_norm(arrays: Sequence[NDArray], max_norm: float, check_isfinite: bool = True) -> Any:
    """Scales the arrays in place so that the norm of all of them together is at most max_norm; gives what it was.

    As a number, after a warning where it is not finite; or unchecked, as an array of one number.
    """
    if not arrays:
        raise ConflictError("clip_global_norm: expected one array at least")
    place = arrays[0].context
    flat = [array.reshape((-1,)) for array in arrays]
    norm = ndarray.sqrt(ndarray.add_n(*[ndarray.dot(x, x).as_in_context(place) for x in flat]))
    if check_isfinite and not np.isfinite(norm.asscalar()):
        warnings.warn("nan or inf is detected. Clipping results will be undefined.", stacklevel=2)
    scale = ndarray.minimum(max_norm / (norm + 1e-8), 1.0)
    for array in arrays:
        array *= scale.as_in_context(array.context)
    return norm.asscalar() if check_isfinite else norm


def check_sha1(filename: str, sha1_hash: str) -> bool:
    """Whether the contents of a file have this SHA-1 (40 hexadecimal digits)."""
    digest = hashlib.sha1()
    with open(filename, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest() == sha1_hash


def replace_file(src: str, dst: str) -> None:
    """Moves a file to the place of another, at once."""
    os.replace(src, dst)


def download(
    url: str,
    path: str | None = None,
    overwrite: bool = False,
    sha1_hash: str | None = None,
    retries: int = 5,
    verify_ssl: bool = True,
) -> str:
    """Fetches a file into `path` (a file or a folder; by default here), unless it is there; gives its name.

    A file with another SHA-1 than `sha1_hash` is fetched again. Raises DownloadError where the last of `retries` tries
    failed, UsageError where what came has another SHA-1; a file takes its place when it is whole. Certificates are
    always verified.
    """
    if retries < 0:
        raise ConflictError(f"Number of retries should be at least 0, currently it's {retries}")
    if not verify_ssl:
        raise ArgumentError("download: verify_ssl=False is not supported; certificates are always verified")
    folder_or_file = os.path.expanduser(path or "")
    base = url.split("/")[-1]
    if path is None and not base:
        raise ConflictError("Can't construct file-name from this URL. Please set the `path` option manually.")
    is_folder = path is None or os.path.isdir(folder_or_file)
    filename = os.path.join(folder_or_file, base) if is_folder else folder_or_file
    if not overwrite and os.path.exists(filename) and (not sha1_hash or check_sha1(filename, sha1_hash)):
        return filename
    os.makedirs(os.path.dirname(os.path.abspath(filename)), exist_ok=True)
    for left in range(max(retries - 1, 0), -1, -1):
        try:
            return _fetch(url, filename, sha1_hash)
        except (DownloadError, UsageError) as e:
            if not left:
                raise
            print(f"download failed due to {e!r}, retrying, {left} attempt{'s' if left > 1 else ''} left")
    return filename


def _fetch(url: str, filename: str, sha1_hash: str | None) -> str:
    print(f"Downloading {filename} from {url}...")
    try:
        with urllib.request.urlopen(url) as answer, replacing(Path(filename)) as part:
            with open(part, "wb") as file:
                shutil.copyfileobj(answer, file, CHUNK_BYTES)
            size_bytes, announced = part.stat().st_size, answer.headers.get("Content-Length")
            if announced is not None and size_bytes != int(announced):
                raise HTTPException(f"the connection ended after {size_bytes} of {announced} bytes")
            if sha1_hash and not check_sha1(str(part), sha1_hash):
                raise UsageError(
                    f"File {filename} is downloaded but the content hash does not match. The repo may be outdated or "
                    'download may be incomplete. If the "repo_url" is overridden, consider switching to the default '
                    "repo."
                )
    except (OSError, HTTPException, ValueError) as e:
        raise DownloadError(f"fetching {url}: {e}; put the file at {filename} by other means") from e
    return filename


def _get_repo_url() -> str:
    """Where data sets and weights are fetched from: MXNet's store, or what the variable MXNET_GLUON_REPO says."""
    return os.environ.get("MXNET_GLUON_REPO", REPO_URL).rstrip("/") + "/"


def _get_repo_file_url(namespace: str, filename: str) -> str:
    return f"{_get_repo_url()}{namespace}/{filename}"


def _indent(s_: str, numSpaces: int) -> str:
    """All lines but the first, indented."""
    return s_.replace("\n", "\n" + " " * numSpaces)


def _brief_print_list(lst: Iterable[Any], limit: int = 7) -> str:
    """`'a', 'b', ..., 'z'`"""
    names = [f"'{name}'" for name in lst]
    if len(names) > limit:
        names = [*names[: limit // 2], "...", *names[-(limit // 2) - limit % 2 :]]
    return ", ".join(names)


class HookHandle:
    """A hook among those of a block; `detach()`, or the end of a `with`, takes it out."""

    def __init__(self) -> None:
        self._hooks_dict_ref: weakref.ref | None = None
        self._id: int | None = None

    def attach(self, hooks_dict: OrderedDict, hook: Any) -> None:
        """Puts the hook in; raises ConflictError the second time."""
        if self._hooks_dict_ref is not None:
            raise ConflictError("The same handle cannot be attached twice.")
        self._id = id(hook)
        hooks_dict[self._id] = hook
        self._hooks_dict_ref = weakref.ref(hooks_dict)

    def detach(self) -> None:
        """Takes the hook out, if it is there."""
        hooks = None if self._hooks_dict_ref is None else self._hooks_dict_ref()
        if hooks is not None:
            hooks.pop(self._id, None)

    def __getstate__(self) -> tuple:
        return None if self._hooks_dict_ref is None else self._hooks_dict_ref(), self._id

    def __setstate__(self, state: tuple) -> None:
        hooks, self._id = state
        self._hooks_dict_ref = weakref.ref(OrderedDict() if hooks is None else hooks)

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *error: Any) -> None:
        self.detach()
