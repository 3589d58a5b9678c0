"""Recurrent layers and cells: names, texts, files, unrolling, outputs and gradients; mx.rnn and its iterator, too."""

from __future__ import annotations

import json
import random

import numpy as np

try:
    from recorded import refusal  # by MXNet's Python
except ImportError:
    from .recorded import refusal

T, N, C, H = 3, 2, 4, 3
LENGTHS = [3, 1]


def nodes(symbol):
    """Operator and name of every node."""
    return [" ".join((n["op"], n["name"])) for n in json.loads(symbol.tojson())["nodes"]]


def seen(value):
    """Shapes, sums and some elements of arrays, in lists."""
    if isinstance(value, (list, tuple)):
        return [seen(v) for v in value]
    return [list(value.shape), value.sum(), (value * value).sum(), value.reshape(-1)[:3]]


def fill(mx, block):
    """Weights that do not depend on a library's random numbers."""
    rng = np.random.RandomState(1)
    for _, parameter in sorted(block.collect_params().items()):
        parameter.set_data(mx.nd.array(rng.uniform(-0.5, 0.5, size=parameter.shape), dtype=parameter.dtype))


def data(mx, *shape):
    return mx.nd.array(np.random.RandomState(2).normal(size=shape))


def taught(mx, block, inputs, *args):
    """Outputs and the gradients of the inputs and of all parameters, which an uneven head gradient gives."""
    inputs.attach_grad()
    with mx.autograd.record():
        out = block(inputs, *args)
        first = out[0] if isinstance(out, (list, tuple)) else out
        loss = (first * data(mx, *first.shape)).sum()
    loss.backward()
    return [seen(out), seen(inputs.grad), {n: seen(p.grad()) for n, p in sorted(block.collect_params().items())}]


def layer(make, layout="TNC", trained=False):
    """A case: the layer made by `make(rnn)`, without and with states; trained as it is hybridized."""

    def run(mx, folder):
        block = make(mx.gluon.rnn)
        found = {"prefix": block.prefix, "before": repr(block), "states": block.state_info(N)}
        block.initialize()
        x = data(mx, *((T, N, C) if layout == "TNC" else (N, T, C)))
        block(x)
        found["after"] = repr(block)
        found["parameters"] = [repr(p) for p in block.collect_params().values()]
        fill(mx, block)
        block.save_parameters(folder + "/layer.params")
        found["file"] = {n: list(a.shape) for n, a in sorted(mx.nd.load(folder + "/layer.params").items())}
        found["begin"] = [s.name for s in block.begin_state(func=mx.sym.var)]
        if trained:
            block.hybridize()
            found["trained"] = taught(mx, block, x)
            block.hybridize(False)
        found["out"] = seen(block(x))
        found["with states"] = seen(block(x, block.begin_state(N, func=mx.nd.ones)))
        outputs, last = block(mx.sym.var("x"), block.begin_state(func=mx.sym.var))
        found["symbol"] = [outputs.list_arguments(), [o.list_outputs() for o in (outputs, *last)]]
        return found

    return run


def unrolled(mx, cell, x, lengths):
    """The cell's sequence in both layouts, merged and not, with and without lengths."""
    found = {}
    for layout, inputs in (("NTC", x.swapaxes(0, 1)), ("TNC", x)):
        for merge in (True, False, None):
            for valid in (None, lengths):
                if type(cell).__name__ == "BidirectionalCell" and (layout, merge) == ("NTC", None):
                    continue  # MXNet stacks what is stacked already
                given = list(x) if merge is None else inputs
                outputs, states = cell.unroll(T, given, layout=layout, merge_outputs=merge, valid_length=valid)
                found[" ".join(map(str, (layout, merge, valid is not None)))] = [seen(outputs), seen(states)]
    return found


def cell(make, shape=(C,), runs=True):
    """A case: the cell made by `make(mx)`, unrolled over arrays and over symbols."""

    def run(mx, folder):
        block = make(mx)
        found = {"prefix": block.prefix, "before": repr(block), "states": block.state_info(N)}
        block.initialize()
        x = data(mx, T, N, *shape)
        if runs:
            block.unroll(T, x, layout="TNC")
        found["after"] = repr(block)
        found["parameters"] = [repr(p) for p in block.collect_params().values()]
        if runs:
            fill(mx, block)
            block.save_parameters(folder + "/cell.params")
            found["file"] = sorted(mx.nd.load(folder + "/cell.params"))
            found["out"] = seen(block.unroll(T, x, layout="TNC"))
        if runs and shape == (C,):
            found["unrolled"] = unrolled(mx, block, x, mx.nd.array(LENGTHS))
        outputs, states = block.unroll(T, [mx.sym.var("x") for _ in range(T)], merge_outputs=False)
        found["symbols"] = [o.list_outputs() for o in (*outputs, *states)]
        found["nodes"] = nodes(outputs[0])
        outputs, _ = block.unroll(T, mx.sym.var("x"), valid_length=mx.sym.var("n"), merge_outputs=True)
        found["arguments"] = outputs.list_arguments()
        return found

    return run


def stack(mx, hybrid=True):
    rnn = mx.gluon.rnn
    cells = (rnn.HybridSequentialRNNCell if hybrid else rnn.SequentialRNNCell)(prefix="stack_")
    with cells.name_scope():
        cells.add(rnn.LSTMCell(H))
        cells.add(rnn.DropoutCell(0.0))
        cells.add(rnn.ResidualCell(rnn.GRUCell(H)))
    return cells


def unfused(mx, folder):
    """A layer's stack of cells computes the same, reads its file, and has its names."""
    rnn = mx.gluon.rnn
    fused = rnn.GRU(H, num_layers=2, bidirectional=True, dropout=0.5, input_size=C, prefix="gru_")
    fused.initialize()
    fill(mx, fused)
    cells = fused._unfuse()
    x = data(mx, T, N, C)
    found = [repr(cells), sorted(cells.collect_params().keys())]
    found.append(seen(cells.unroll(T, x, layout="TNC", merge_outputs=True)[0]))
    return [*found, seen(fused(x))]


def cast(mx, folder):
    block = mx.gluon.rnn.GRU(H, input_size=C, prefix="gru_")
    block.cast("float64")
    block.initialize()
    states = block.begin_state(batch_size=N)
    return [block.state_info(1), [str(a.dtype) for a in (*states, block.l0_h2h_weight.data())]]


def refusals(mx, folder):
    rnn = mx.gluon.rnn
    lstm = rnn.LSTMCell(H, prefix="a_")
    both = rnn.BidirectionalCell(rnn.RNNCell(H), rnn.RNNCell(H))
    x = data(mx, N, T, C)
    rnn.ResidualCell(lstm)
    layer = rnn.GRU(H, input_size=C)
    layer.initialize()
    return [
        refusal(lambda: lstm.begin_state(batch_size=1)),
        refusal(lambda: rnn.ZoneoutCell(lstm)),
        refusal(lambda: both(x, [])),
        refusal(lambda: rnn.ZoneoutCell(both)),
        refusal(lambda: rnn.LSTM(H, layout="TCN")),
        refusal(lambda: layer(x, mx.nd.zeros((1, 5, H)))),
        refusal(lambda: rnn.DropoutCell("much")),
        refusal(lambda: rnn.RNNCell(H).unroll(T, None)),
        refusal(lambda: mx.rnn.FusedRNNCell(H)(x, [])),
        refusal(lambda: mx.rnn.DropoutCell("much")),
        refusal(lambda: mx.rnn.SequentialRNNCell(mx.rnn.RNNParams()).add(mx.rnn.LSTMCell(H))),
    ]


def old(make, length=T):
    """A case: the cell of mx.rnn, its symbols, what they give, and its weights packed and not."""

    def run(mx, folder):
        found = {}
        for merge in (True, False, None):
            outputs, states = make(mx.rnn).unroll(length, mx.sym.var("x"), layout="TNC", merge_outputs=merge)
            flat = [outputs] if isinstance(outputs, mx.sym.Symbol) else list(outputs)
            flat += [s for of_cell in states for s in (of_cell if isinstance(of_cell, list) else [of_cell])]
            found[str(merge)] = [s.list_outputs() for s in flat]
        cell = make(mx.rnn)
        found["states"] = [cell.state_info, cell.state_shape]
        out = cell.unroll(length, mx.sym.var("x"), layout="TNC", merge_outputs=True)[0]
        shapes = dict(zip(out.list_arguments(), out.infer_shape(x=(length, N, C))[0]))
        rng = np.random.RandomState(1)
        arrays = {n: mx.nd.array(rng.uniform(-0.5, 0.5, size=shapes[n])) for n in sorted(shapes) if n != "x"}
        found["out"] = seen(out.eval(ctx=mx.cpu(), x=data(mx, length, N, C), **arrays)[0])
        apart = cell.unpack_weights(arrays)
        found["unpacked"] = {n: seen(apart[n]) for n in sorted(apart)}
        found["packed"] = all((cell.pack_weights(apart)[n].asnumpy() == arrays[n].asnumpy()).all() for n in arrays)
        return found

    return run


def old_names(mx, folder):
    """The nodes of each cell of mx.rnn in a step."""
    rnn, x = mx.rnn, mx.sym.var("x")
    cells = [
        rnn.RNNCell(H), rnn.LSTMCell(H), rnn.GRUCell(H), rnn.DropoutCell(0.5),
        rnn.ZoneoutCell(rnn.RNNCell(H, prefix="z_"), 0.5, 0.5), rnn.ResidualCell(rnn.RNNCell(H, prefix="r_")),
        rnn.ConvRNNCell((1, 2, 5, 5), H), rnn.ConvLSTMCell((1, 2, 5, 5), H, h2h_kernel=(3, 1)),
        rnn.ConvGRUCell((1, 2, 5, 5), H, activation="tanh"),
    ]  # fmt: skip
    return [[nodes(cell(x, cell.begin_state())[0]), cell.state_info] for cell in cells]


def fused_unfused(mx, folder):
    """A fused cell's checkpoint, read by the cells that it is unfused to."""
    fused = mx.rnn.FusedRNNCell(H, num_layers=2, mode="lstm", bidirectional=True, prefix="f_", get_next_state=True)
    cells, x = fused.unfuse(), mx.sym.var("x")
    one, states = fused.unroll(T, x, layout="TNC", merge_outputs=True)
    other, _ = cells.unroll(T, x, layout="TNC", merge_outputs=True)
    size = one.infer_shape(x=(T, N, C))[0][one.list_arguments().index("f_parameters")]
    arrays = {"f_parameters": mx.nd.array(np.random.RandomState(1).uniform(-0.5, 0.5, size=size))}
    callback = mx.rnn.do_rnn_checkpoint(fused, folder + "/model", period=2)
    callback(0, one, arrays, {})
    callback(1, one, arrays, {})
    symbol, of_cells, _ = mx.rnn.load_rnn_checkpoint(cells, folder + "/model", 2)
    _, again, _ = mx.rnn.load_rnn_checkpoint([fused], folder + "/model", 2)
    given = data(mx, T, N, C)
    return [
        size, sorted(mx.nd.load(folder + "/model-0002.params")), sorted(of_cells), symbol.list_arguments(),
        bool((again["f_parameters"].asnumpy() == arrays["f_parameters"].asnumpy()).all()),
        seen(one.eval(ctx=mx.cpu(), x=given, **arrays)[0]), seen(other.eval(ctx=mx.cpu(), x=given, **of_cells)[0]),
        [s.attr("__layout__") for s in states],
    ]  # fmt: skip


def shared_weights(mx, folder):
    """A cell that is given another's weights."""
    cells = mx.rnn.SequentialRNNCell()
    cells.add(mx.rnn.LSTMCell(H, prefix="a_"))
    twin = mx.rnn.LSTMCell(H, prefix="b_", params=cells._cells[0].params)
    out = twin.unroll(2, mx.sym.var("x"), merge_outputs=True)[0]
    return [sorted(cells.params._params), out.list_arguments(), out.list_outputs()]


def sentences(mx, folder):
    """Words as numbers, and the batches of an iterator over buckets."""
    np.random.seed(3)  # noqa: NPY002  the streams that the iterator draws from
    random.seed(3)
    words = [["a", "b", "c"], ["b", "d"], ["c"], ["a", "d", "b", "c"], ["d"], ["b", "c"], ["a", "b", "c", "d", "a"]]
    coded, vocab = mx.rnn.encode_sentences(words, start_label=1, invalid_label=0)
    found = {
        "coded": coded,
        "vocab": vocab,
        "known": mx.rnn.encode_sentences([["a", "z"]], vocab=dict(vocab), unknown_token="d")[0],
    }
    for layout, buckets in (("NT", [2, 4]), ("TN", [])):
        batches = mx.rnn.BucketSentenceIter(coded, 2, buckets=buckets, invalid_label=0, layout=layout)
        found[layout] = [batches.default_bucket_key, batches.buckets, repr(batches.provide_data)]
        for _ in range(2):
            batches.reset()
            found[layout] += [
                [b.bucket_key, b.data[0], b.label[0], b.pad, repr(b.provide_data), repr(b.provide_label)]
                for b in batches
            ]
    return found


def contrib(name, *args, **kwargs):
    return lambda mx: getattr(mx.gluon.contrib.rnn, name)(*args, **kwargs)


def dynamic(mx, folder):
    """`foreach` over a cell gives what unrolling gives."""
    block = mx.gluon.rnn.LSTMCell(H, input_size=C, prefix="lstm_")
    block.initialize()
    fill(mx, block)
    unroll = mx.gluon.contrib.rnn.rnn_cell.dynamic_unroll
    x, states = data(mx, T, N, C), [data(mx, N, H), data(mx, N, H)]
    found = [seen(unroll(block, x, states)), seen(unroll(block, x, states, valid_length=mx.nd.array(LENGTHS)))]
    return [*found, seen(unroll(block, x.swapaxes(0, 1), states, layout="NTC"))]


CASES = {
    "RNN": layer(lambda rnn: rnn.RNN(H)),
    "RNN tanh": layer(lambda rnn: rnn.RNN(H, 2, activation="tanh", layout="NTC", dropout=0.0), "NTC"),
    "LSTM": layer(lambda rnn: rnn.LSTM(H, bidirectional=True), trained=True),
    "LSTM projected": layer(lambda rnn: rnn.LSTM(H, projection_size=2)),
    "GRU": layer(lambda rnn: rnn.GRU(H, layout="NTC", bidirectional=True, input_size=C), "NTC"),
    "cast": cast,
    "unfused": unfused,
    "refusals": refusals,
    "RNNCell": cell(lambda mx: mx.gluon.rnn.RNNCell(H, activation="relu")),
    "LSTMCell": cell(lambda mx: mx.gluon.rnn.LSTMCell(H, activation="tanh", recurrent_activation="softsign")),
    "GRUCell": cell(lambda mx: mx.gluon.rnn.GRUCell(H)),
    "stack": cell(stack),
    "stack of blocks": cell(lambda mx: stack(mx, hybrid=False), runs=False),
    "BidirectionalCell": cell(
        lambda mx: mx.gluon.rnn.BidirectionalCell(mx.gluon.rnn.LSTMCell(H), mx.gluon.rnn.GRUCell(H))
    ),
    "ZoneoutCell": cell(lambda mx: mx.gluon.rnn.ZoneoutCell(mx.gluon.rnn.RNNCell(H), 0.0, 0.0)),
    "ResidualCell": cell(lambda mx: mx.gluon.rnn.ResidualCell(mx.gluon.rnn.GRUCell(C))),
    "VariationalDropoutCell": cell(
        lambda mx: mx.gluon.contrib.rnn.VariationalDropoutCell(mx.gluon.rnn.RNNCell(H), drop_inputs=0.0)
    ),
    "LSTMPCell": cell(contrib("LSTMPCell", H, 2)),
    "Conv1DRNNCell": cell(contrib("Conv1DRNNCell", (2, 5), H, 3, 3, i2h_pad=1), (2, 5)),
    "Conv2DLSTMCell": cell(
        contrib("Conv2DLSTMCell", (2, 5, 4), H, (3, 2), (3, 1), i2h_pad=(1, 0)), (2, 5, 4), runs=False
    ),
    "Conv3DGRUCell": cell(
        contrib("Conv3DGRUCell", (2, 3, 4, 3), H, 1, 3, h2h_dilate=2, activation="relu"), (2, 3, 4, 3), runs=False
    ),
    "dynamic_unroll": dynamic,
    "mx.rnn names": old_names,
    "mx.rnn.RNNCell": old(lambda rnn: rnn.RNNCell(H, activation="relu")),
    "mx.rnn.LSTMCell": old(lambda rnn: rnn.LSTMCell(H)),
    "mx.rnn.GRUCell": old(lambda rnn: rnn.GRUCell(H)),
    "mx.rnn.FusedRNNCell": old(lambda rnn: rnn.FusedRNNCell(H, 2, mode="gru", bidirectional=True)),
    "mx.rnn.BidirectionalCell": old(
        lambda rnn: rnn.BidirectionalCell(rnn.LSTMCell(H, prefix="l_"), rnn.FusedRNNCell(H, prefix="r_"))
    ),
    "mx.rnn.FusedRNNCell unfused": fused_unfused,
    "mx.rnn shared weights": shared_weights,
    "mx.rnn sentences": sentences,
}
