"""What is drawn: complete and well-formed SVG, HTML that needs nothing and runs nothing of a file's, PDF, DOT."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET
import zlib
from html.parser import HTMLParser

import pytest

import symc as mx
from symc import models
from symc.core.errors import ArgumentError, SymcError
from symc.visualization.font import fitted, printable, text_width
from symc.visualization.picture import Box, Colour, Edge, Picture
from symc.visualization.plot import GRAPHVIZ_FORMATS, NetworkPlot, require_format

SVG = "{http://www.w3.org/2000/svg}"
NASTY = (
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "]]>", "a\"b'c", "line\nbreak\ttab",
    "x" * 10_000,
    "\x00\x1b\x7f", "\ud800", "&amp;", "back\\slash\\", "<b>bold</b>", "node", "a:b", "层", "-->", "{{}}", "${1}", "",
)  # fmt: skip


def plot_of(name):
    model = models.get(name)
    return mx.viz.plot_network(model.symbol, title=name, shape=dict(model.shapes))


def nasty_plot():
    net = mx.sym.Variable("data")
    for name in NASTY:
        net = mx.sym.Activation(net, act_type="relu", name=name)
    return mx.viz.plot_network(net, title=NASTY[0], shape={"data": (1, 2)})


def parsed(plot):
    return ET.fromstring(plot.pipe("svg"))


def frames(root):
    """The frame of each box, by number."""
    found = {}
    for group in root.iter(f"{SVG}g"):
        if group.get("class") == "box":
            rect = group.find(f"{SVG}rect")
            x, y, w, h = (float(rect.get(a)) for a in ("x", "y", "width", "height"))
            found[int(group.get("id").removeprefix("box-"))] = (x, y, x + w, y + h)
    return found


@pytest.mark.parametrize("name", models.names())
def test_every_node_is_drawn_once(name):
    plot = plot_of(name)
    root, nodes = parsed(plot), models.get(name).symbol.nodes()
    shown = [n.name for n in nodes if not n.name.endswith(("weight", "bias", "gamma", "beta", "mean", "var"))]
    assert [box.title for box in plot.picture.boxes] == shown
    titles = [g.find(f"{SVG}title").text for g in root.iter(f"{SVG}g") if g.get("class") == "box"]
    assert titles == shown


@pytest.mark.parametrize("name", models.names())
def test_boxes_are_apart_and_inside(name):
    root = parsed(plot_of(name))
    places = list(frames(root).values())
    assert all(0 <= a[0] and a[2] <= float(root.get("width")) for a in places)
    assert all(0 <= a[1] and a[3] <= float(root.get("height")) for a in places)
    for k, a in enumerate(places):
        assert all(a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1] for b in places[:k])


@pytest.mark.parametrize("name", models.names())
def test_edges_connect(name):
    plot = plot_of(name)
    root = parsed(plot)
    boxes, paths = frames(root), [p for p in root.iter(f"{SVG}path") if p.get("class") == "edge"]
    assert [(int(p.get("data-tail")), int(p.get("data-head"))) for p in paths] == [
        (e.tail, e.head) for e in plot.picture.edges
    ]
    for path in paths:
        line, tip = path.get("d").split("M")[1:]
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", line)]
        left, _, right, bottom = boxes[int(path.get("data-tail"))]
        if path.get("data-via") is None:
            assert left < numbers[0] < right and numbers[1] == pytest.approx(bottom, abs=0.02)
        left, top, right, _ = boxes[int(path.get("data-head"))]
        assert numbers[-1] == pytest.approx(top, abs=0.02) and "L" in tip
        tip_x = float(re.search(r"L([\d.]+) ", tip)[1])
        assert left < tip_x < right


def test_texts_fit_their_boxes():
    for drawing in (plot_of("resnet-18"), nasty_plot()):
        for box in drawing.scene.boxes:
            for text in box.texts:
                width = text_width(text.text, text.size, text.is_bold)
                assert width <= box.frame.width and box.frame.y < text.y < box.frame.y + box.frame.height


def test_shapes_stand_once_at_each_output():
    net = mx.sym.Variable("data")
    net = mx.sym.concat(mx.sym.relu(net, name="a"), mx.sym.tanh(net, name="b"), dim=1, name="c")
    plot = mx.viz.plot_network(net, shape={"data": (2, 3)})
    assert [e.label.text for e in plot.scene.edges if e.label] == ["2x3", "2x3", "2x3"]
    assert not any(e.label for e in mx.viz.plot_network(net).scene.edges)


def test_details():
    plot = mx.viz.plot_network(models.get("lenet").symbol, shape={"data": (1, 1, 28, 28)}, dtype={"data": "float32"})
    details = dict(next(b for b in plot.picture.boxes if b.title == "convolution0").details)
    assert details["operator"] == "Convolution" and details["kernel"] == "(5, 5)" and details["num_filter"] == "20"
    assert details["input data"] == "data: 1x1x28x28 float32" and details["output"] == "1x20x24x24 float32"
    assert details["parameters"] == "520" and details["made at"] == "built-in network lenet"
    assert plot.picture.facts == "11 operators, 431,080 parameters"


def test_weights_are_drawn_on_demand():
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    assert [b.title for b in mx.viz.plot_network(net).picture.boxes] == ["data", "fc"]
    shown = mx.viz.plot_network(net, hide_weights=False).picture
    assert [b.title for b in shown.boxes] == ["data", "fc_weight", "fc_bias", "fc"] and len(shown.edges) == 3


def test_a_group_of_nothing_in_common():
    group = mx.sym.Group([mx.sym.Variable("a"), mx.sym.relu(mx.sym.Variable("b"), name="c")])
    assert len(frames(parsed(mx.viz.plot_network(group)))) == 3


# -- files from outside -----------------------------------------------------------------------------------------------


def test_names_are_text_in_svg():
    plot = nasty_plot()
    text = plot.pipe("svg").decode("utf-8")
    root = ET.fromstring(text)
    assert {e.tag.removeprefix(SVG) for e in root.iter()} == {"svg", "title", "rect", "g", "path", "text"}
    assert not [a for e in root.iter() for a in e.attrib if a.startswith("on") or "href" in a]
    titles = [g.find(f"{SVG}title").text or "" for g in root.iter(f"{SVG}g") if g.get("class") == "box"]
    assert titles[1] == NASTY[0] and r"\x00\x1b\x7f" in titles and r"\ud800" in titles and "层" in titles
    assert len(text) < 60_000  # long names are shortened


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.scripts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.lasttag == "script" and self.scripts:
            self.scripts[-1] += data


@pytest.mark.parametrize("make", [nasty_plot, lambda: plot_of("resnet-18")])
def test_page_needs_nothing_and_runs_its_own_script_only(make):
    plot = make()
    text = plot.pipe("html").decode("utf-8")
    page = _Page()
    page.feed(text)
    assert page.tags.count("script") == 2 and "img" not in page.tags and "b" not in page.tags
    assert not [a for a, _ in page.attributes if a.startswith("on") or a in ("src", "href")]
    assert "default-src 'none'; script-src 'sha256-" in text and not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)", text
    )
    data = json.loads(page.scripts[0])
    assert [b["title"] for b in data] == [b.title for b in plot.picture.boxes]
    for k in range(len(data)):
        assert f'id="box-{k}"' in text


def test_policy_names_the_script():
    import base64
    import hashlib

    text = plot_of("mlp").pipe("html").decode("utf-8")
    script = re.search(r"<script>(.*)</script>", text, re.S)[1]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in text


def test_names_are_quoted_in_dot():
    source = nasty_plot().source
    assert '"back\\\\slash\\\\" [label="Activation\nrelu"' in source
    assert '"a:b" -> "back' not in source and '"a:b" -> "node"' in source
    net = mx.sym.relu(mx.sym.Variable('say "<b>"'), name="<b>x</b>")
    lines = mx.viz.plot_network(net).source.splitlines()
    assert lines[1].startswith('\t"say \\"<b>\\"" [label="say \\"<b>\\""') and '"<b>x</b>" -> "say' in lines[3]


# -- files to write ---------------------------------------------------------------------------------------------------


def test_pdf_has_all_texts():
    contents = plot_of("lenet").pipe("pdf")
    assert contents.startswith(b"%PDF-1.6") and contents.rstrip().endswith(b"%%EOF")
    start = int(re.search(rb"startxref\n(\d+)", contents)[1])
    assert contents[start : start + 4] == b"xref"
    offsets = [int(n) for n in re.findall(rb"(\d{10}) 00000 n", contents)]
    assert [contents[o:].split(b" ", 1)[0] for o in offsets] == [b"%d" % k for k in range(1, len(offsets) + 1)]
    packed = contents[contents.index(b"stream\n") + 7 : contents.index(b"\nendstream")]
    painted = zlib.decompress(packed).decode("latin-1")
    for box in plot_of("lenet").picture.boxes:
        assert f"({box.title}) Tj" in painted


def test_a_large_pdf_page_has_larger_units():
    colour = Colour("c", "#ffffff", "#000000")
    tall = Picture(
        "t", "", tuple(Box(str(k), (), colour) for k in range(400)), tuple(Edge(k, k + 1) for k in range(399))
    )
    plot = NetworkPlot(tall, "")
    unit = int(re.search(rb"/UserUnit (\d+)", plot.pipe("pdf"))[1])
    _, _, width, height = (float(n) for n in re.search(rb"/MediaBox \[([^]]*)\]", plot.pipe("pdf"))[1].split())
    assert unit == 2 and height <= 14400 and height * unit == pytest.approx(0.75 * plot.scene.height, rel=1e-3)
    assert width * unit == pytest.approx(0.75 * plot.scene.width, rel=1e-3)


def test_pdf_escapes():
    painted = nasty_plot().pipe("pdf")
    packed = painted[painted.index(b"stream\n") + 7 : painted.index(b"\nendstream")]
    assert b"(back\\\\slash\\\\) Tj" in zlib.decompress(packed) and b"(\\\\u5c42) Tj" in zlib.decompress(packed)


def test_render_save_and_view(tmp_path, monkeypatch):
    plot = plot_of("mlp")
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert plot.format == "pdf"
    assert plot.render("a/net", tmp_path) == str(tmp_path / "a" / "net.pdf")
    assert (tmp_path / "a" / "net").read_text() == plot.source + "\n"
    plot.format = "svg"
    assert plot.view("other", tmp_path, cleanup=True) == str(tmp_path / "other.svg")
    assert not (tmp_path / "other").exists() and opened == [(tmp_path / "other.svg").as_uri()]
    monkeypatch.chdir(tmp_path)
    assert plot.save() == "mlp.gv" and plot.render(format="html") == "mlp.gv.html"
    with pytest.raises(SymcError, match="writing"):
        plot.save(tmp_path / "mlp.gv" / "below-a-file")
    with pytest.raises(SymcError, match="Is a directory"):
        plot.save(tmp_path / "a")


def test_a_drawing_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path):
    path = tmp_path / "mlp.svg"
    path.write_text("old")
    path.chmod(0o600)
    with open(path) as old:
        plot_of("mlp").render(tmp_path / "mlp", cleanup=True, format="svg")
        assert old.read() == "old"
    assert path.read_text().startswith("<svg") and path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["mlp.svg"]


def test_notebooks_show_it():
    plot = plot_of("mlp")
    assert plot._repr_svg_().startswith("<svg ") and plot._repr_mimebundle_()["image/svg+xml"] == plot._repr_svg_()
    assert str(plot) == plot.source


def test_formats(monkeypatch):
    for kind in ("svg", "html", "pdf", "dot", "gv"):
        require_format(kind)
    with pytest.raises(ArgumentError, match="no drawings as 'xyz'; expected svg, html, pdf, dot, gv, or with Graphv"):
        plot_of("mlp").pipe("xyz")
    with pytest.raises(ValueError, match="no drawings as 'xyz'"):
        mx.viz.plot_network(mx.sym.Variable("data"), save_format="xyz")
    monkeypatch.setattr("symc.visualization.plot.find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(SymcError, match=r"'png' needs Graphviz: install its package \(pip install graphviz\) and its"):
        plot_of("mlp").pipe("png")


def test_other_formats_are_drawn_by_graphviz(monkeypatch):
    class Source:
        def __init__(self, source):
            self.source = source

        def pipe(self, format):
            return f"{format} of {self.source}".encode()

    package = type(sys)("graphviz")
    package.Source = Source
    monkeypatch.setitem(sys.modules, "graphviz", package)
    monkeypatch.setattr("symc.visualization.plot.find_spec", lambda _: True)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/dot")
    plot = plot_of("mlp")
    for kind in GRAPHVIZ_FORMATS:
        assert plot.pipe(kind) == f"{kind} of {plot.source}".encode()


# -- parts ------------------------------------------------------------------------------------------------------------


def test_legend_names_the_colours_in_use():
    colours = [Colour("kind & <one>", "#ffffff", "#000000"), Colour("two", "#eeeeee", "#111111")]
    picture = Picture("t", "", tuple(Box(str(k), (), c) for k, c in enumerate(colours)), (Edge(0, 1),))
    texts = [t.text for t in parsed(NetworkPlot(picture, "")).iter(f"{SVG}text")]
    assert texts[2:4] == ["kind & <one>", "two"]


def test_fitted_and_printable():
    assert fitted("short", 100, 12) == "short" and fitted("", 0, 12) == ""
    shortened = fitted("a_very_long_name_of_a_layer_17", 100, 12)
    assert re.fullmatch(r"a_very.*\.\.\..*17", shortened) and text_width(shortened, 12) <= 100
    assert printable("a\nb\x00\u2028") == r"a\nb\x00\u2028" and printable("é层") == "é层"
