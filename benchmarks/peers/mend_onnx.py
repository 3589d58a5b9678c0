"""Mends MXNet's ONNX export in place.   usage: python -m peers.mend_onnx FILE.onnx ...

MXNet lists every parameter as a graph input too. ONNX Runtime must then take it as overridable and may neither fold
BatchNorm into convolutions nor fold constants (ResNet-18: 53.8 ms instead of 44.2), which would slow the peer unfairly.
"""

from __future__ import annotations

import sys

import onnx


def main() -> None:
    for path in sys.argv[1:]:
        model = onnx.load(path)
        parameters = {parameter.name for parameter in model.graph.initializer}
        inputs = [value for value in model.graph.input if value.name not in parameters]
        print(f"{path}: {len(model.graph.input) - len(inputs)} parameters are no longer inputs")
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        onnx.save(model, path)


if __name__ == "__main__":
    main()
