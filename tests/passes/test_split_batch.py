"""Stretches of a network run for a few rows of the batch at a time where their data are larger than what stays near."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent

import numpy as np
import pytest

import symc as mx
from symc.ir.text import graph_text
from symc.passes.base import PassContext
from symc.passes.pipeline import Trace, lower_graph
from symc.passes.split_batch import split_batch

from . import reference
from .golden import graph_of
from .simulate import PackingBackend, PlainBackend, simulate


@dataclass(frozen=True)
class SmallCaches(PlainBackend):
    near_bytes: int = 400


@dataclass(frozen=True)
class SmallCachesPacking(PackingBackend):
    near_bytes: int = 400


def split(text: str) -> str:
    graph = graph_of(text)
    before = graph_text(graph)
    result = split_batch(graph, PassContext(SmallCaches()))
    assert graph_text(graph) == before
    return graph_text(result)


LAYERS = """
argument %x: float32[6, 2, 4, 4]
parameter %v: float32[2, 2, 1, 1]
parameter %s: float32[1]
parameter %w: float32[3, 2, 1, 1]
%a = Convolution(%x, %v, kernel=(1, 1), num_filter=2, no_bias=True): float32[6, 2, 4, 4]
%u = broadcast_mul(%w, %s): float32[3, 2, 1, 1]
%b = Convolution(%a, %u, kernel=(1, 1), num_filter=3, no_bias=True): float32[6, 3, 4, 4]
%y = Pooling(%b, pool_type='avg', global_pool=True): float32[6, 3, 1, 1]
head y = %y
"""


def test_a_stretch_becomes_a_loop_and_what_parameters_decide_stays_in_front():
    assert split(LAYERS) == dedent("""\
        argument %x: float32[6, 2, 4, 4]
        %y.Reshape = Reshape(%x, shape=(6, 1, 2, 4, 4)): float32[6, 1, 2, 4, 4]
        parameter %v: float32[2, 2, 1, 1]
        parameter %w: float32[3, 2, 1, 1]
        parameter %s: float32[1]
        %u = broadcast_mul(%w, %s): float32[3, 2, 1, 1]
        %y.iterate = _iterate(%y.Reshape, %v, %u, n_data=1): float32[6, 1, 3, 1, 1]
          body
            argument %data0: float32[1, 2, 4, 4]
            parameter %free0: float32[2, 2, 1, 1]
            parameter %free1: float32[3, 2, 1, 1]
            %a = Convolution(%data0, %free0, kernel=(1, 1), num_filter=2, no_bias=True): float32[1, 2, 4, 4]
            %b = Convolution(%a, %free1, kernel=(1, 1), num_filter=3, no_bias=True): float32[1, 3, 4, 4]
            %y = Pooling(%b, pool_type='avg', global_pool=True): float32[1, 3, 1, 1]
            head output0 = %y
        %y.Reshape1 = Reshape(%y.iterate, shape=(6, 3, 1, 1)): float32[6, 3, 1, 1]
        head y = %y.Reshape1
    """)


ALIKE = """
argument %x: float32[6, 4, 4, 4]
parameter %v: float32[4, 4, 3, 3]
parameter %b: float32[4]
parameter %w: float32[5, 32]
%a = Convolution(%x, %v, %b, kernel=(3, 3), pad=(1, 1), num_filter=4): float32[6, 4, 4, 4]
%r = relu(%a): float32[6, 4, 4, 4]
%c = Convolution(%r, %v, %b, kernel=(3, 3), pad=(1, 1), num_filter=4): float32[6, 4, 4, 4]
%d = Concat(%c, %x, num_args=2): float32[6, 8, 4, 4]
%p = Pooling(%d, kernel=(2, 2), stride=(2, 2), pool_type='max'): float32[6, 8, 2, 2]
%f = Flatten(%p): float32[6, 32]
%y = FullyConnected(%f, %w, num_hidden=5, no_bias=True): float32[6, 5]
head y = %y
head r = %r
"""


@pytest.mark.parametrize("backend", [SmallCaches(), SmallCachesPacking(), SmallCaches(near_bytes=2100)])
def test_the_loop_computes_what_the_nodes_do(backend):
    graph = graph_of(ALIKE)
    kernels = lower_graph(graph, PassContext(backend), Trace())
    (n_rounds,) = {loop.count for kernel in kernels.kernels for loop in kernel.loops}
    assert n_rounds == (3 if backend.near_bytes > 2048 else 6)
    random = np.random.RandomState(3)
    feeds = {node.name: random.randn(*graph.shape(node[0])).astype("float32") for node in graph.inputs}
    arrays = {(place, name): array for name, array in feeds.items() for place in ("argument", "parameter")}
    found = simulate(kernels, arrays)
    exact = reference.forward(graph, feeds)
    for k, output in enumerate(graph.outputs):
        wanted = exact[output.value]
        np.testing.assert_allclose(found["head", str(k)].reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        LAYERS.replace("6, ", "1, "),  # one row
        LAYERS.replace("head y = %y", "head y = %y\nupdate v = %v"),  # not for predictions alone
        """
        argument %x: float32[6, 2, 4, 4]
        parameter %v: float32[2, 2, 1, 1]
        %a = Convolution(%x, %v, kernel=(1, 1), num_filter=2, no_bias=True): float32[6, 2, 4, 4]
        %y = relu(%a): float32[6, 2, 4, 4]
        head y = %y
        """,  # one kernel
        """
        argument %x: float32[90, 90]
        parameter %v: float32[90, 90]
        %a = dot(%x, %v): float32[90, 90]
        %y = dot(%a, %v): float32[90, 90]
        head y = %y
        """,  # weights weigh as much
        """
        argument %x: float32[90, 90]
        parameter %v: float32[90, 90]
        %a = dot(%x, %v): float32[90, 90]
        %y = dot(%x, %a): float32[90, 90]
        head y = %y
        """,  # the first product is read as a whole
    ],
)
def test_what_stays_as_it_is(text):
    assert split(text) == dedent(text).strip() + "\n"


def test_many_images_on_the_cpu():
    data, w = mx.sym.var("data"), mx.sym.var("w")
    net = mx.sym.Convolution(data, weight=w, kernel=(3, 3), pad=(1, 1), num_filter=4, no_bias=True)
    net = mx.sym.Convolution(mx.sym.relu(net), weight=w, kernel=(3, 3), pad=(1, 1), num_filter=4, no_bias=True)
    executor = net.simple_bind(mx.cpu(), grad_req="null", data=(6, 4, 96, 96))
    assert ".iterate x 2; " in executor.explain()
    random = np.random.default_rng(5)
    x, v = random.normal(size=(6, 4, 96, 96)), random.normal(size=(4, 4, 3, 3))
    executor.arg_dict["w"][:] = v
    (found,) = executor(data=x)
    wanted = _convolved(np.maximum(_convolved(x, v), 0), v)
    np.testing.assert_allclose(found.asnumpy(), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def _convolved(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
    return np.einsum("nchwyx,ocyx->nohw", windows, w, optimize=True)
