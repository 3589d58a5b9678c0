"""Saving a symbol as JSON and a network with its parameters as a checkpoint, and loading both."""

import symc as mx

a = mx.sym.Variable("a")
b = mx.sym.Variable("b")
c = a + b
print(c.tojson()[:60].replace("\n", ""), "...")
c.save("symbol-c.json")
c2 = mx.sym.load("symbol-c.json")
print("same graph:", c.tojson() == c2.tojson())

net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc"), name="softmax")
ex = net.simple_bind(mx.cpu(), data=(2, 5))
for name, array in ex.arg_dict.items():
    if name.startswith("fc"):
        mx.init.Xavier()(mx.init.InitDesc(name), array)
args = {name: array for name, array in ex.arg_dict.items() if name.startswith("fc")}
mx.model.save_checkpoint("mlp", 3, net, args, {})
loaded, arg_params, aux_params = mx.model.load_checkpoint("mlp", 3)
print("same network:", loaded.tojson() == net.tojson())
print("same weights:", bool((arg_params["fc_weight"].asnumpy() == args["fc_weight"].asnumpy()).all()), aux_params)
