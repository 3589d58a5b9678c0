"""mx.operator: what an operator written in Python raises, faulty definitions, wrong calls, files that name one."""

from __future__ import annotations

import traceback

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, CustomError, DTypeError, ParameterError, ShapeError
from symc.ops.control.custom import definitions

from .custom_operators import arrays_of, network, registered, square, square_back, squared

nd, sym = mx.nd, mx.sym


def raising(self, *_):
    raise KeyError("no such thing")


def test_errors_come_out_where_the_program_was_called():
    _, executor = network(registered(raising))
    before = executor.arg_dict["data"].asnumpy()
    told = r"forward( of node custom)? raised KeyError: 'no such thing' \(/.*test_operator_faults.py:"
    for run in (executor.forward, executor, lambda: nd.Custom(nd.ones((2, 2)), op_type=registered(raising))):
        with pytest.raises(CustomError, match=told) as e:
            run()
        assert isinstance(e.value, mx.MXNetError)
        assert traceback.extract_tb(e.value.__cause__.__traceback__)[-1].name == "raising"
    np.testing.assert_array_equal(executor.arg_dict["data"].asnumpy(), before)
    _, executor = network(registered(square, raising))
    executor.forward(is_train=True)
    with pytest.raises(CustomError, match=r"backward of node custom\.custom_backward raised KeyError"):
        executor.backward(nd.ones((2, 3)))
    executor.forward()
    np.testing.assert_allclose(executor.outputs[0].asnumpy(), squared(arrays_of(executor))[0], rtol=1e-4)


def test_ctrl_c_in_an_operator_is_passed_on():
    def forward(*_):
        raise KeyboardInterrupt

    _, executor = network(registered(forward))
    with pytest.raises(KeyboardInterrupt):
        executor.forward()


@pytest.mark.parametrize(
    ("prop", "kind", "message"),
    [
        ({"__init__": lambda self, **kw: 1 / 0}, CustomError, "__init__ raised ZeroDivisionError"),
        ({"list_arguments": raising}, CustomError, "list_arguments raised KeyError"),
        ({"list_outputs": []}, CustomError, "list_outputs gave no names"),
        ({"declare_backward_dependency": [7]}, CustomError, r"gave \(7,\), expected some of \[\[0\], \[1\], \[2\]\]"),
        ({"infer_storage_type": (["csr"], ["csr"], [])}, CustomError, "storage type 'csr' is not supported"),
        ({"infer_shape": raising}, ShapeError, "Error in operator c: .*infer_shape raised KeyError"),
        ({"infer_shape": ([(2, 3)],)}, ShapeError, "infer_shape must return 2 or 3 lists"),
        ({"infer_shape": ([(2, 3)], [])}, ShapeError, "infer_shape gave 0 entries for the results output"),
        ({"infer_shape": ([(4, 3)], [(4, 3)])}, ShapeError, "Provided"),
        ({"infer_type": raising}, DTypeError, "Error in operator c: .*infer_type raised KeyError"),
        ({"infer_type": ([np.float64], [np.float64])}, DTypeError, "wants float64 for data, which is float32"),
        ({"create_operator": raising}, CustomError, "create_operator raised KeyError"),
        ({"create_operator": 5}, CustomError, "create_operator gave 5, expected a CustomOp"),
    ],
)
def test_faulty_definitions(prop, kind, message):
    name = registered(square, **prop)
    with pytest.raises(kind, match=message):
        sym.Custom(sym.Variable("data", dtype="float32"), op_type=name, name="c").eval(data=nd.ones((2, 3)))
    with pytest.raises(mx.MXNetError):
        nd.Custom(nd.ones((2, 3)), op_type=name)


def test_wrong_calls():
    x, name = sym.Variable("x"), registered(square)
    with pytest.raises(ParameterError, match="Cannot find custom operator nothing"):
        sym.Custom(x, op_type="nothing")
    with pytest.raises(ParameterError, match="`op_type` is missing"):
        nd.Custom(nd.ones((1,)))
    with pytest.raises(ArgumentError, match=r"expects 1 inputs \(data\), got 2"):
        nd.Custom(nd.ones((1,)), nd.ones((1,)), op_type=name)
    with pytest.raises(ArgumentError, match="Keyword argument name label not found"):
        sym.Custom(data=x, label=x, op_type=name)
    with pytest.raises(TypeError, match="either as positional or keyword"):
        sym.Custom(x, data=x, op_type=name)


def test_files_name_the_operator(tmp_path):
    """The node is written as MXNet writes it; without its class a file can be looked at, but not run."""
    name = registered(square, square_back)
    net, executor = network(name)
    text = net.tojson()
    again = sym.load_json(text)
    assert again.tojson() == text
    assert '"op_type": "' + name in text and '"node_row_ptr": [0, 1, 2, 3, 4, 5, 6, 7, 8]' in text
    bound = again.bind(mx.cpu(), executor.arg_dict)
    np.testing.assert_array_equal(bound.forward()[0].asnumpy(), executor.forward()[0].asnumpy())
    known = definitions.pop(name)
    try:
        lacking = sym.load_json(text)
        assert lacking.tojson() == text
        with pytest.raises(mx.MXNetError, match=rf"Custom \(op_type {name}\): 1 node \(custom\)\n.*--import"):
            lacking.simple_bind(mx.cpu(), data=(2, 5))
    finally:
        definitions[name] = known
