"""Modules of layers as functions: a factory of convolutions, and one of inception modules; their shapes and picture."""

import symc as mx


def ConvFactory(data, num_filter, kernel, stride=(1, 1), pad=(0, 0), name=None, suffix=""):
    """Convolution, batch normalization, ReLU."""
    conv = mx.sym.Convolution(
        data=data, num_filter=num_filter, kernel=kernel, stride=stride, pad=pad, name=f"conv_{name}{suffix}"
    )
    bn = mx.sym.BatchNorm(data=conv, name=f"bn_{name}{suffix}")
    return mx.sym.Activation(data=bn, act_type="relu", name=f"relu_{name}{suffix}")


def InceptionFactoryA(data, num_1x1, num_3x3red, num_3x3, num_d3x3red, num_d3x3, pool, proj, name):
    """Four towers over the same input, concatenated: 1x1, 3x3, two 3x3, pooling."""
    c1x1 = ConvFactory(data, num_1x1, kernel=(1, 1), name=f"{name}_1x1")
    c3x3 = ConvFactory(data, num_3x3red, kernel=(1, 1), name=f"{name}_3x3", suffix="_reduce")
    c3x3 = ConvFactory(c3x3, num_3x3, kernel=(3, 3), pad=(1, 1), name=f"{name}_3x3")
    cd3x3 = ConvFactory(data, num_d3x3red, kernel=(1, 1), name=f"{name}_double_3x3", suffix="_reduce")
    cd3x3 = ConvFactory(cd3x3, num_d3x3, kernel=(3, 3), pad=(1, 1), name=f"{name}_double_3x3_0")
    cd3x3 = ConvFactory(cd3x3, num_d3x3, kernel=(3, 3), pad=(1, 1), name=f"{name}_double_3x3_1")
    pooling = mx.sym.Pooling(
        data=data, kernel=(3, 3), stride=(1, 1), pad=(1, 1), pool_type=pool, name=f"{pool}_pool_{name}_pool"
    )
    cproj = ConvFactory(pooling, proj, kernel=(1, 1), name=f"{name}_proj")
    return mx.sym.Concat(c1x1, c3x3, cd3x3, cproj, name=f"ch_concat_{name}_chconcat")


prev = mx.sym.Variable(name="Previous Output")
conv_comp = ConvFactory(data=prev, num_filter=64, kernel=(7, 7), stride=(2, 2), name="stem")
shape = {"Previous Output": (128, 3, 28, 28)}
print(conv_comp.list_outputs(), conv_comp.infer_shape(**shape)[1])

prev = mx.sym.Variable(name="Previous Output")
in3a = InceptionFactoryA(prev, 64, 64, 64, 64, 96, "avg", 32, name="in3a")
print(in3a.list_outputs(), in3a.infer_shape(**shape)[1])
print(len(in3a.list_arguments()), "arguments,", len(in3a.list_auxiliary_states()), "auxiliary states")

try:
    picture = mx.viz.plot_network(symbol=in3a, shape=shape, node_attrs={"shape": "oval", "fixedsize": "false"})
except ImportError as error:  # as in MXNet, pictures need the package graphviz
    print("no picture:", error)
else:
    print(f"a picture of {len(picture.source.splitlines())} lines of DOT; picture.render('in3a') draws it")
