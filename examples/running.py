"""From a symbol to numbers: eval, bind and forward, simple_bind, gradients, several outputs, one array bound twice."""

import symc as mx

a = mx.sym.Variable("a")
b = mx.sym.Variable("b")
c = a + b

# What shapes and types follow from some.
arg_shape, out_shape, aux_shape = c.infer_shape(a=(2, 3))
print({"input": dict(zip(c.list_arguments(), arg_shape)), "output": dict(zip(c.list_outputs(), out_shape))})
arg_type, out_type, aux_type = c.infer_type(a="float32")
print([t.__name__ for t in arg_type + out_type])

# The quickest way: eval.
print("eval:", c.eval(ctx=mx.cpu(), a=mx.nd.ones([2, 3]), b=mx.nd.ones([2, 3]))[0].asnumpy().tolist())

# An executor runs many times over the same arrays.
ex = c.bind(ctx=mx.cpu(), args={"a": mx.nd.ones([2, 3]), "b": mx.nd.ones([2, 3])})
ex.forward()
print("number of outputs = %d\nthe first output = \n%s" % (len(ex.outputs), ex.outputs[0].asnumpy()))  # noqa: UP031

# Gradients go to the arrays given for them.
grad = mx.nd.zeros((2, 3))
ex = (a * b).bind(mx.cpu(), {"a": mx.nd.ones((2, 3)), "b": mx.nd.ones((2, 3)) * 5}, args_grad={"a": grad})
ex.forward(is_train=True)
ex.backward(mx.nd.ones((2, 3)))
print("d(a*b)/da =", grad.asnumpy()[0].tolist())

# Several outputs of one graph.
group = mx.sym.Group([c, a - b, mx.sym.sum(a * b)])
outputs = group.eval(a=mx.nd.array([4, 5]), b=mx.nd.array([1, 2]))
print("group:", [o.asnumpy().tolist() for o in outputs])

# One variable used twice is one argument; arrays for names that are no arguments are not looked at.
data = mx.nd.array([[1, 2], [3, 4]])
b = a + a
ex = b.bind(ctx=mx.cpu(), args={"a": data, "b": data})
ex.forward()
print("a + a:", b.list_arguments(), ex.outputs[0].asnumpy().tolist())
