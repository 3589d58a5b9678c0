"""Records what MXNet 1.9.1 makes of small images and records: run by its Python, `python tests/image/record.py FOLDER`.

The folder is tests/data/image.
"""

import json
import os
import sys

import mxnet as mx
import numpy as np
from cases import CASES
from cases_records import CASES as RECORD_CASES
from cases_vision import CASES as VISION_CASES
from records import RECORDS


def record_records(folder):
    writer = mx.recordio.MXIndexedRecordIO(
        os.path.join(folder, "records.idx"), os.path.join(folder, "records.rec"), "w"
    )
    for key, record in enumerate(RECORDS):
        writer.write_idx(key, record)
    writer.write_idx(100, mx.recordio.pack(mx.recordio.IRHeader(0, 3, 7, 1), b"image"))
    writer.write_idx(101, mx.recordio.pack(mx.recordio.IRHeader(9, [1, 2.5], 8, 0), b"images"))
    writer.close()


def plain(value):
    """A result as an array; a text as the array of it."""
    return value.asnumpy() if isinstance(value, mx.nd.NDArray) else np.array(value)


def record_cases(folder, name, cases):
    """All values in one array of bytes: an archive's member costs more than most of them have."""
    index, data = {}, []
    for case_name, case in cases.items():
        values = case(mx, lambda file: os.path.join(folder, file))
        arrays = [plain(v) for v in (values if isinstance(values, list) else [values])]
        index[case_name] = [(a.dtype.str, a.shape) for a in arrays]
        data += [a.tobytes() for a in arrays]
    bytes_of = {"index": json.dumps(index).encode(), "data": b"".join(data)}
    arrays = {part: np.frombuffer(b, np.uint8) for part, b in bytes_of.items()}
    np.savez_compressed(os.path.join(folder, name), **arrays)


if __name__ == "__main__":
    record_records(sys.argv[1])
    record_cases(sys.argv[1], "mxnet.npz", CASES)
    record_cases(sys.argv[1], "mxnet_records.npz", RECORD_CASES)
    record_cases(sys.argv[1], "mxnet_vision.npz", VISION_CASES)
