"""Symbols as JSON: byte-equal round trips, every legacy form, and files that lie."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import numpy as np
import pytest

import symc as mx
from symc.core.errors import FormatError, ParameterError, SymcError, UnknownOperatorError

DATA = Path(__file__).parents[1] / "data"
ZOO = sorted((DATA / "zoo").glob("*-symbol.json"))
VARIANTS = json.loads((DATA / "conformance" / "legacy" / "json_variants.json").read_text())

var = mx.sym.var


def model(*nodes, heads=None, version=10901, **top):
    """JSON text; a node is (op, name, inputs, attrs)."""
    records = [dict(op=o, name=n, inputs=[[*e, 0] for e in i], attrs=a) for o, n, i, a in nodes]
    variables = [k for k, (op, *_) in enumerate(nodes) if op == "null"]
    content = dict(nodes=records, arg_nodes=variables, heads=heads or [[len(nodes) - 1, 0, 0]])
    return json.dumps({**content, "attrs": {"mxnet_version": ["int", version]}, **top})


X = ("null", "x", [], {})


@pytest.mark.parametrize("path", ZOO, ids=lambda p: p.stem)
def test_round_trip_is_byte_equal(path):
    assert mx.sym.load(str(path)).tojson() == path.read_text()


def test_written_text():
    assert (var("a") * 2.5 + var("b\n\"\\\t")).tojson() == "\n".join(
        [
            "{", '  "nodes": [',
            "    {", '      "op": "null", ', '      "name": "a", ', '      "inputs": []', "    }, ",
            "    {", '      "op": "_mul_scalar", ', '      "name": "_mulscalar0", ',
            '      "attrs": {"scalar": "2.5"}, ', '      "inputs": [[0, 0, 0]]', "    }, ",
            "    {", '      "op": "null", ', '      "name": "b\\n\\"\\\\\\t", ', '      "inputs": []', "    }, ",
            "    {", '      "op": "elemwise_add", ', '      "name": "_plus0", ',
            '      "inputs": [[1, 0, 0], [2, 0, 0]]', "    }",
            "  ], ", '  "arg_nodes": [0, 2], ', '  "node_row_ptr": [0, 1, 2, 3, 4], ',
            '  "heads": [[3, 0, 0]], ', '  "attrs": {"mxnet_version": ["int", 10901]}', "}",
        ]
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh_names():
    with mx.name.NameManager():
        yield


def test_long_lists_are_broken():
    text = mx.sym.Concat(*[var(f"v{i}") for i in range(12)], name="c").tojson()
    assert (
        '"inputs": [\n        [0, 0, 0], \n        [1, 0, 0], ' in text and '"arg_nodes": [\n    0, \n    1, ' in text
    )


def test_versions_of_states_are_written_and_kept():
    m = var("m")
    first = mx.sym.BatchNorm(var("d"), moving_mean=m, name="a")
    second = mx.sym.BatchNorm(first, moving_mean=m, name="b") + m
    inputs = [n["inputs"] for n in json.loads(second.tojson())["nodes"] if n["inputs"]]
    assert [e[2] for e in inputs[0]] == [0, 0, 0, 1, 1] and [e[2] for e in inputs[1]] == [0, 0, 0, 2, 1]
    assert inputs[2][1][2] == 2
    assert mx.sym.load_json(second.tojson()).tojson() == second.tojson()


def test_hidden_outputs_count_in_row_ptr():
    s = mx.sym.Dropout(mx.sym.Pooling(var("d"), kernel=(2, 2)))
    assert json.loads(s.tojson())["node_row_ptr"] == [0, 1, 3, 5]
    s = mx.sym.Pooling(var("d"), kernel=(2, 2), pool_type="avg")
    assert json.loads(s.tojson())["node_row_ptr"] == [0, 1, 2]


def test_mixed_precision_casts_are_left_out():
    a, b = var("a"), var("b")
    s = mx.sym.exp(mx.sym.amp_cast(mx.sym.log(a, name="l"), dtype="float16", name="c"), name="e") + b
    assert mx.sym.load_json(s.tojson()).get_internals().list_outputs() == [
        "a",
        "l_output",
        "e_output",
        "b",
        "_plus0_output",
    ]
    assert "amp_cast" in s.tojson(remove_amp_cast=False) and "c_output" in s.get_internals().list_outputs()
    last = mx.sym.amp_cast(a, dtype="float16", name="last")  # a head stays, and is passed over where it is read
    both = mx.sym.load_json(mx.sym.Group([last, mx.sym.exp(last, name="e")]).tojson())
    assert both.list_outputs() == ["last_output", "e_output"]
    assert both["e_output"].get_internals().list_outputs() == ["a", "e_output"]


def test_save_and_load(tmp_path):
    path = str(tmp_path / "net.json")
    s = mx.sym.FullyConnected(var("data"), num_hidden=10, name="fc1")
    s.save(path)
    loaded = mx.sym.load(path)
    assert loaded.tojson() == s.tojson() == Path(path).read_text()
    assert {n.origin for n in loaded.nodes()} == {path}
    with pytest.raises(TypeError):
        s.save(3)


@pytest.mark.parametrize("case", [c for c in VARIANTS if c["ok"]], ids=lambda c: c["tag"])
def test_attributes_of_legacy_forms_are_listed_in_mxnets_order(case):
    """The rest of these files is checked by tests/conformance/legacy.py."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        s = mx.sym.load_json(json.dumps(case["json"]))
    assert json.dumps(s.attr_dict()) == json.dumps(case["attr_dict"])


def test_unknown_fields_and_newer_files_warn():
    text = model(X, ("exp", "e", [[0, 0]], {}), foo=1).replace('"op"', '"zzz": 1, "op"')
    with pytest.warns(UserWarning, match="ignored") as seen:
        mx.sym.load_json(text)
    assert [str(w.message) for w in seen] == ["JSON text: ignored unknown fields 'foo', 'zzz'"]
    assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match="'k9' and 3 more"):
        mx.sym.load_json(model(X, **{f"k{k}": 1 for k in range(13)}))
    with pytest.warns(UserWarning, match="newer than 10901"):
        mx.sym.load_json(model(X, version=20000))


ABSENT = [X, ("exp", "e", [[0, 0]], {}), ("NoOpA", "n0", [[1, 0]], {"depth": "3"}), ("exp", "n1", [[2, 1]], {}),
          ("NoOpB", "n2", [[3, 0], [0, 0]], {"__lr_mult__": "2"}), ("NoOpA", "n3", [[4, 0]], {})]  # fmt: skip


def test_operators_that_symc_lacks_are_kept():
    net = mx.sym.load_json(model(*ABSENT))
    assert net.list_arguments() == ["x"] and net.list_outputs() == ["n3_output"]
    assert net.get_internals().list_outputs() == [
        "x", "e_output", "n0_output0", "n0_output1", "n1_output", "n2_output", "n3_output",
    ]  # fmt: skip
    assert net.attr_dict()["n0"] == {"depth": "3"} and net.get_internals()["n2_output"].attr("lr_mult") == "2"
    text = net.tojson()
    assert mx.sym.load_json(text).tojson() == text and '"op": "NoOpB"' in text
    net._set_attr(mood="odd")
    assert net.attr("mood") == "odd"
    assert net.infer_shape_partial(x=(2, 3))[1] == [()]
    plot = mx.viz.plot_network(net)
    marked = [box.title for box in plot.picture.boxes if "symc lacks this operator" in box.lines]
    assert marked == ["n0", "n2", "n3"] and "n2 -> x" in plot.source
    assert (net.__copy__() + 1).list_outputs()


def test_a_part_without_them_runs():
    net = mx.sym.load_json(model(*ABSENT))
    part = net.get_internals()["e_output"]
    ex = part.bind(mx.cpu(), {"x": mx.nd.array([0, 1])})
    np.testing.assert_allclose(ex.forward()[0].asnumpy(), np.exp([0.0, 1.0]), rtol=1e-6)


@pytest.mark.parametrize("run", ["bind", "simple_bind", "eval", "CachedOp", "Group", "compile"])
def test_only_running_them_is_refused_with_all_of_them_at_once(run):
    net, x = mx.sym.load_json(model(*ABSENT)), mx.nd.ones((2,))
    group = mx.sym.Group([mx.sym.var("x"), net])
    ways = {
        "bind": lambda: net.bind(mx.cpu(), {"x": x}),
        "simple_bind": lambda: net.simple_bind(mx.cpu(), x=(2,)),
        "eval": lambda: net.eval(x=x),
        "CachedOp": lambda: mx.nd.CachedOp(net),
        "Group": lambda: group.simple_bind(mx.cpu(), x=(2,)),
        "compile": lambda: mx.compile(net, {}, x=(2,)),
    }
    with pytest.raises(UnknownOperatorError) as e:
        ways[run]()
    told = "JSON text uses 2 operators that symc does not have:\n  NoOpA: 2 nodes (n0, n3)\n  NoOpB: 1 node (n2)\n"
    assert told in str(e.value)


def test_the_outputs_of_an_absent_operator_are_those_the_file_counts(tmp_path):
    """A fork's operator with three outputs, of which one is used."""
    nodes = [X, ("MoonOutput", "r", [[0, 0]], {"mode": "lstm"})]
    content = json.loads(model(*nodes))
    content["node_row_ptr"] = [0, 1, 4]
    net = mx.sym.load_json(json.dumps(content))
    assert json.loads(net.tojson())["node_row_ptr"] == [0, 1, 4]
    content["heads"] = [[1, 1 << 20, 0]]
    with pytest.raises(FormatError, match="1048577 outputs, expected at most"):
        mx.sym.load_json(json.dumps(content))


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("not json", FormatError, r"not a symbol: Expecting value at line 1 column 1 \(char 0\)"),
        ("[]", FormatError, r"expected an object, got \[\]"),
        ("{}", FormatError, 'Missing field "arg_nodes"'),
        ('{"nodes": [], "arg_nodes": [], "heads": []}', FormatError, '"heads" is empty'),
        ('{"nodes": 3, "arg_nodes": [], "heads": []}', FormatError, '"nodes" is not a list'),
        (
            '{"nodes": [{"op": "null"}], "arg_nodes": [], "heads": [[0, 0]]}',
            FormatError,
            'node 0 needs "op" and "name"',
        ),
        (model(X, heads=[[1, 0, 0]]), FormatError, "head 0 names node 1 of 1"),
        (model(X, heads=[[0, 1, 0]]), FormatError, "a head is output 1 of x, which has 1"),
        (
            model(X, heads=[[-1, 0, 0]]),
            FormatError,
            r"head 0 must be \[node, index\].*from 0 to 2147483647; got \[-1, 0, 0\]$",
        ),
        (model(X, heads=[[0, 10**30, 0]]), FormatError, r"head 0 must be .*; got \[0, 10{30}, 0\]"),
        (model(X, heads=[[True, 0]]), FormatError, "head 0 must be"),
        (model(X, ("exp", "e", [[7, 0]], {})), FormatError, r"node 1 \(e\): input 0 names node 7 of 2"),
        (model(X, ("exp", "e", [[0, 4]], {})), FormatError, "input 0 of e is output 4 of x, which has 1"),
        (model(X, ("exp", "e", [[1, 0]], {})), FormatError, r"node 1 \(e\) needs its own output"),
        (model(X, ("exp", "e", [[2, 0]], {}), ("exp", "f", [[1, 0]], {})), FormatError, "the graph has a cycle"),
        (model(X, ("exp", "e", [[0, 0]], {}), arg_nodes=[1]), FormatError, "node 1 .e., which is not a variable"),
        (model(X, arg_nodes=[9]), FormatError, '"arg_nodes" names node 9 of 1'),
        (model(("null", "x", [], {"a": 1})), FormatError, '"attrs" must map names to strings'),
        (model(X, attrs={"mxnet_version": "1.9"}), FormatError, "holds no version"),
        (
            model(X, ("SliceChannel", "s", [[0, 0]], {"num_outputs": "99999999"})),
            ParameterError,
            "value 99999999 for Parameter num_outputs",
        ),
        (
            model(X, ("Concat", "c", [[0, 0]], {"num_args": "99999999"}), version=800),
            ParameterError,
            "value 99999999 for Parameter num_args",
        ),
        (
            model(X, ("FullyConnected", "f", [[0, 0]], {})),
            ParameterError,
            r"node f \(FullyConnected\): Required parameter",
        ),
        ("[" * 100_000, FormatError, "recursion"),
        ("9" * 5000, FormatError, "limit .*4300"),
        (model(("null", "\ud800", [], {})), FormatError, "surrogates not allowed"),
    ],
)
def test_files_that_lie(text, error, message):
    with pytest.raises(error, match=message):
        mx.sym.load_json(text)


def test_missing_and_undecodable_files(tmp_path):
    with pytest.raises(mx.MXNetError, match=r'Open "/nonexistent\.json": No such file or directory'):
        mx.sym.load("/nonexistent.json")
    bad = tmp_path / "bad.json"
    bad.write_bytes(b'{"nodes": "\xff"}')
    with pytest.raises(FormatError, match=r"bad\.json: not a symbol: byte 11 is not UTF-8"):
        mx.sym.load(str(bad))
    for function in (mx.sym.load, mx.sym.load_json):
        with pytest.raises(TypeError):
            function(3)


def test_damaged_files_raise_only_our_errors():
    sources = [p.read_text() for p in ZOO if p.stat().st_size < 5000]
    values = [
        None,
        -1,
        1,
        10**12,
        "",
        "x",
        [],
        {},
        [[0, 0]],
        True,
        1.5,
        "(9999999999,)",
        "BatchNorm",
        "null",
        [[99, 0]],
    ]
    for n in range(600):
        content = json.loads(random.choice(sources))
        places = [(c, k) for c in content["nodes"] for k in c] + [(content, k) for k in content]
        places += [(n["attrs"], k) for n in content["nodes"] for k in n.get("attrs", {})]
        places += [(e, k) for n in content["nodes"] for e in n["inputs"] for k in range(3)]
        container, key = random.choice(places)
        container[key] = random.choice(values)
        text = json.dumps(content)
        if n % 3 == 0:
            at = random.randrange(len(text))
            text = text[:at] + chr(random.randrange(1, 300)) + text[at + 1 :]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                s = mx.sym.load_json(text)
                s.tojson(), s.attr_dict(), s.list_outputs(), s.infer_shape_partial(), s.infer_type_partial()
            except SymcError:
                pass


def test_a_deep_graph_needs_no_recursion():
    s = var("x")
    for _ in range(20_000):
        s = s + 1
    loaded = mx.sym.load_json(s.tojson())
    assert loaded.infer_shape(x=(2, 3))[1] == [(2, 3)]
    assert loaded(x=var("y")).list_arguments() == ["y"]


def test_debug_str():
    m = mx.sym.FullyConnected(var("d"), num_hidden=3, no_bias=True, name="fc")
    assert m.debug_str() == (
        "Symbol Outputs:\n\toutput[0]=fc(0)\nVariable:d\nVariable:fc_weight\n--------------------\n"
        "Op:FullyConnected, Name=fc\nInputs:\n\targ[0]=d(0) version=0\n\targ[1]=fc_weight(0) version=0\n"
        "Attrs:\n\tno_bias=True\n\tnum_hidden=3\n"
    )
    assert var("d").debug_str() == "Variable:d\n"


def test_np_shape_is_noted():
    with mx.np_shape(True):
        text = var("x").tojson()
    assert text.endswith('  "attrs": {\n    "is_np_shape": ["int", 1], \n    "mxnet_version": ["int", 10901]\n  }\n}')
    assert mx.sym.load_json(text).tojson() == var("x").tojson()
