"""Records what MXNet 1.9.1 makes of small images and records: run by its Python, `python tests/image/record.py FOLDER`.

The folder is tests/data/image.
"""

import os
import sys

import mxnet as mx
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


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    record_records(sys.argv[1])
