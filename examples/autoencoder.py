"""A convolutional autoencoder: strided convolutions down, transposed ones up, trained by Module to repeat its input."""

import logging
import sys

import numpy as np

import symc as mx

logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
logging.getLogger().addFilter(lambda record: "Time cost" not in record.getMessage())  # differs from run to run

rng = np.random.RandomState(0)
pictures = np.zeros((128, 1, 16, 16))
for picture, (row, column) in zip(pictures, rng.randint(0, 9, (128, 2))):  # a square somewhere
    picture[0, row : row + 8, column : column + 8] = 1

data, wanted = mx.sym.Variable("data"), mx.sym.Variable("wanted")
net = mx.sym.Convolution(data, kernel=(3, 3), stride=(2, 2), pad=(1, 1), num_filter=8, name="down1")
net = mx.sym.Activation(net, act_type="relu")
net = mx.sym.Convolution(net, kernel=(3, 3), stride=(2, 2), pad=(1, 1), num_filter=4, name="down2")
code = mx.sym.Activation(net, act_type="relu", name="code")
net = mx.sym.Deconvolution(code, kernel=(4, 4), stride=(2, 2), pad=(1, 1), num_filter=8, name="up1")
net = mx.sym.Activation(net, act_type="relu")
net = mx.sym.Deconvolution(net, kernel=(4, 4), stride=(2, 2), pad=(1, 1), num_filter=1, name="up2")
net = mx.sym.LogisticRegressionOutput(net, wanted, name="output")
print("shapes of code and output:", code.infer_shape(data=(32, 1, 16, 16))[1], net.infer_shape(data=(32, 1, 16, 16))[1])

shapes = dict(zip(net.list_arguments(), net.infer_shape(data=(32, 1, 16, 16))[0]))
weights = {
    name: mx.nd.array(rng.normal(0, 0.2, shape)) if name.endswith("weight") else mx.nd.zeros(shape)
    for name, shape in shapes.items()
    if name not in ("data", "wanted")
}
batches = mx.io.NDArrayIter({"data": pictures}, {"wanted": pictures}, batch_size=32)
module = mx.mod.Module(net, label_names=["wanted"])
module.fit(
    batches,
    eval_metric="mse",
    optimizer="adam",
    optimizer_params={"learning_rate": 0.01},
    arg_params=weights,
    num_epoch=4,
    batch_end_callback=None,
)
repeated = module.predict(batches).asnumpy()
print("error of a pixel:", round(float(abs(repeated - pictures).mean()), 3))
