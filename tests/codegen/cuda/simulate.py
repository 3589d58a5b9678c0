"""Runs calls of kernels on a simulated GPU, over buffers with guard zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from symc.codegen.cuda.backend import CudaBackend
from symc.codegen.cuda.image import KernelImage
from symc.codegen.cuda.launch import Grid
from symc.codegen.cuda.target import Target
from symc.codegen.kernel import KernelCall, Ref, Table, float_bits
from symc.runtime.cuda.driver import Launch
from symc.testing.driver import SimDriver

BACKEND, BY_GROUPS = (CudaBackend(Target((9, 0), by_groups), lambda image: (1, None)) for by_groups in (False, True))

_images: dict[str, KernelImage] = {}


def image_of(call: KernelCall, backend: CudaBackend = BACKEND) -> KernelImage:
    """The kernel of a call, compiled once: what is by groups of warps has a name of its own."""
    if call.code.name not in _images:
        _images[call.code.name] = KernelImage.from_bytes(backend.build(call.code))
    return _images[call.code.name]


def run_calls(
    calls: Sequence[KernelCall],
    memory: Mapping[str, np.ndarray],
    driver: SimDriver | None = None,
    backend: CudaBackend = BACKEND,
) -> None:
    """Runs calls one after the other; `memory` has the bytes of each buffer, from its first element on."""
    driver = driver or SimDriver()
    places = {name: driver.allocate(raw.nbytes) for name, raw in memory.items()}
    for name, raw in memory.items():
        driver.copy_in(places[name], raw)
    slots = {name: k for k, name in enumerate(memory)}
    for call in calls:
        table, words = list(places.values()), []
        for word in call.words:
            if isinstance(word, Ref):
                words += [slots[word.buffer], word.offset_bytes]
            elif isinstance(word, Table):
                words += [len(table), 0]
                table.append(_stored(driver, np.ascontiguousarray(word.data)))
            else:
                words.append(float_bits(word) if isinstance(word, float) else int(word))
        arguments = tuple(_stored(driver, np.array(numbers, np.int64)) for numbers in (words, table))
        grid = Grid(*call.launch)
        blocks, threads = (grid.n_blocks, 1, 1), (grid.n_threads, 1, 1)
        driver.launch(Launch(driver.load(image_of(call, backend)), blocks, threads, grid.shared_bytes, arguments))
    for name, raw in memory.items():
        driver.copy_out(raw, places[name])


def _stored(driver: SimDriver, data: np.ndarray) -> int:
    address = driver.allocate(data.nbytes)
    driver.copy_in(address, data)
    return address
