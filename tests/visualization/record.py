"""Snippets of `mx.viz`, and what MXNet 1.9.1 (with graphviz 0.8.4, which it asks for) prints for them.

`PYTHON-OF-MXNET tests/visualization/record.py` writes tests/data/viz/recorded.json anew.
"""

import contextlib
import importlib
import io
import json
import pathlib
import sys

RECORDED = pathlib.Path(__file__).parents[1] / "data" / "viz" / "recorded.json"

NET = """
d = mx.sym.Variable('data')
c = mx.sym.Convolution(d, kernel=(3, 3), num_filter=4, num_group=2, name='conv')
b = mx.sym.BatchNorm(c, name='bn')
r = mx.sym.Activation(b, act_type='relu', name='relu')
p = mx.sym.Pooling(r, kernel=(2, 2), stride=(2, 2), pool_type='max', name='pool')
f = mx.sym.FullyConnected(mx.sym.Flatten(p, name='flat'), num_hidden=10, name='fc')
s = mx.sym.SoftmaxOutput(f, name='softmax')
e = mx.sym.split(mx.sym.LeakyReLU(d, act_type='elu', name='leaky'), num_outputs=2, axis=1, name='split')
x = mx.sym.Pooling(e[0] * e[1], pool_type='avg', global_pool=True, kernel=(1, 1), name='global')
emb = mx.sym.Embedding(d, input_dim=5, output_dim=6, name='emb')
shape = {'data': (1, 2, 8, 8)}
"""
SNIPPETS = (
    "mx.viz.print_summary(s, shape=shape)",
    "mx.viz.print_summary(s)",
    "mx.viz.print_summary(s, shape=shape, line_length=80, positions=[.3, .5, .7, 1.])",
    "mx.viz.print_summary(s, positions=[20, 40, 50, 60])",
    "mx.viz.print_summary(c, shape=shape)",
    "mx.viz.print_summary(d, shape=shape)",
    "mx.viz.print_summary(e, shape=shape)",
    "mx.viz.print_summary(e[1], shape=shape)",
    "mx.viz.print_summary(x, shape=shape)",
    "mx.viz.print_summary(mx.sym.Group([x, s]), shape=shape)",
    "mx.viz.print_summary(mx.sym.Group([e[1], mx.sym.BatchNorm(e[0], name='b', output_mean_var=True)]), shape=shape)",
    "mx.viz.print_summary(mx.sym.Group([d, mx.sym.Variable('z')]))",
    "mx.viz.print_summary(emb, shape=shape)",
    "mx.viz.print_summary(mx.sym.FullyConnected(f, num_hidden=3, no_bias=True, name='last'), shape=shape)",
    "mx.viz.print_summary(mx.sym.FullyConnected(f, num_hidden=3, no_bias=1, name='last'), shape=shape)",
    "mx.viz.plot_network(s, shape=shape)",
    "mx.viz.plot_network(s)",
    "mx.viz.plot_network(s, title='a b', hide_weights=False, node_attrs={'shape': 'oval', 'fixedsize': 'false'})",
    "mx.viz.plot_network(s, shape=shape, dtype={'data': np.float16}, save_format='svg')",
    "mx.viz.plot_network(x, dtype={'data': np.float64})",
    "mx.viz.plot_network(mx.sym.Group([x, s, emb]), shape=shape)",
    "mx.viz.plot_network(d, title='digraph')",
    "mx.viz.plot_network(mx.sym.concat(d, d * 2, mx.sym.sqrt(d), dim=1, name='a b'), shape=shape)",
)


def result(mx, np, snippet):
    """What a snippet prints, or the DOT source of what it returns; names begin anew."""
    with contextlib.redirect_stdout(io.StringIO()) as out, mx.name.NameManager(), mx.AttrScope():
        scope = {"mx": mx, "np": np}
        exec(NET, scope)
        value = eval(snippet, scope)
    return out.getvalue() if value is None else value.source


if __name__ == "__main__":
    mx, np = (importlib.import_module(name) for name in ("mxnet", "numpy"))
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text(json.dumps({s: result(mx, np, s) for s in SNIPPETS}, indent=1) + "\n")
    sys.stdout.write(f"{len(SNIPPETS)} snippets\n")
