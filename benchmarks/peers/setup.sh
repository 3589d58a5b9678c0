#!/usr/bin/env bash
# Makes the peers' virtual environments and the models they run.   usage: peers/setup.sh [DIR]   (default benchmarks/.peers)
#
# Python 3.8 (for MXNet) and 3.11 (for the others) are taken from PYTHON38 and PYTHON311, else from pyenv, else from PATH.
# Running it again brings an existing DIR up to date.
set -euo pipefail
benchmarks=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "${1:-$benchmarks/.peers}"
peers=$(cd "${1:-$benchmarks/.peers}" && pwd)

find_python() { # find_python VERSION CHOSEN: prints an interpreter of that version
    local candidate
    for candidate in "$2" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python "python$1"; do
        if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
            echo "$candidate"
            return
        fi
    done
    echo "setup.sh: no Python $1 found; install it (pyenv install $1) or name it in PYTHON${1/./}" >&2
    return 1
}

make_environment() { # make_environment NAME PYTHON
    echo "== $peers/$1 ($2)"
    [ -x "$peers/$1/bin/python" ] || "$2" -m venv "$peers/$1"
    "$peers/$1/bin/python" -m pip install --quiet --disable-pip-version-check \
        --requirement "$benchmarks/peers/requirements-$1.txt"
}

python38=$(find_python 3.8 "${PYTHON38:-}")
python311=$(find_python 3.11 "${PYTHON311:-}")
make_environment mxnet "$python38"
make_environment onnx "$python311"
make_environment torch "$python311"
make_environment jax "$python311"

cd "$benchmarks"
echo "== $peers/models"
MXNET_SUBGRAPH_BACKEND=NONE "$peers/mxnet/bin/python" -m peers.make_models "$peers/models"
"$peers/onnx/bin/python" -m peers.mend_onnx "$peers/models"/*.onnx
echo "== every peer against MXNet's outputs"
"$python311" compare.py --peers-dir "$peers" --peers mxnet,onnxruntime,openvino,torch,jax --threads 1 --rounds 0 --variants
