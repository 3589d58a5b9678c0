"""Records the files that MXNet writes, and what it reads in them.

    python -m tests.exchange.record MXNET_PYTHON

tests/data/exchange/: `files.zip` and `read.json`, and `objects.pickle`, which `python -m symc.as_mxnet` reads.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

DATA = pathlib.Path(__file__).parents[1] / "data" / "exchange"

PICKLING = """
import pickle, sys
import mxnet as mx
objects = dict(
    array=mx.nd.array([[1, 2]], dtype="int8"),
    symbol=mx.sym.relu(mx.sym.Variable("x"), name="r"),
    optimizer=mx.optimizer.SGD(learning_rate=0.25),
    augmenter=mx.image.CenterCropAug((2, 3)),
)
pickle.dump(objects, open(sys.argv[1], "wb"), 2)
"""


def by_mxnet(python, verb, folder):
    """What MXNet, in the environment of an interpreter, reads in a folder; or it writes there."""
    script = pathlib.Path(__file__).with_name("cases.py")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"MXNET_MKLDNN_ENABLED": "0"}
    found = subprocess.run(
        [python, script, "mxnet", verb, folder], env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return json.loads(found.stdout.splitlines()[-1]) if verb == "read" else None


def main():
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        files = pathlib.Path(folder)
        by_mxnet(sys.argv[1], "write", files)
        with zipfile.ZipFile(DATA / "files.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(p for p in files.rglob("*") if p.is_file()):
                archive.writestr(zipfile.ZipInfo(str(path.relative_to(files))), path.read_bytes())
        subprocess.run([sys.argv[1], "-c", PICKLING, DATA / "objects.pickle"], check=True)
        (DATA / "read.json").write_text(json.dumps(by_mxnet(sys.argv[1], "read", files)) + "\n")


if __name__ == "__main__":
    main()
