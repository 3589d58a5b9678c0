"""Element types: casts in a graph, what they infer, and what values they give."""

import numpy as np

import symc as mx

a = mx.sym.Variable("data")
b = mx.sym.cast(data=a, dtype="float16")
arg, out, _ = b.infer_type(data="float32")
print({"input": [t.__name__ for t in arg], "output": [t.__name__ for t in out]})

c = mx.sym.cast(data=a, dtype="uint8")
arg, out, _ = c.infer_type(data="int32")
print({"input": [t.__name__ for t in arg], "output": [t.__name__ for t in out]})

values = np.array([0.1, 1.5, 2049.0, 300.0, -1.0], "float32")
ex = b.simple_bind(ctx=mx.cpu(), data=values.shape, type_dict={"data": "float32"})
(half,) = ex.forward(data=values)
print("float16:", half.dtype.__name__, half.asnumpy().tolist())  # 11 bits: 0.1 and 2049 are rounded
(byte,) = c.eval(ctx=mx.cpu(), data=mx.nd.array(values))
print("uint8:", byte.dtype.__name__, byte.asnumpy().tolist())  # the fraction is dropped, the rest taken modulo 256
