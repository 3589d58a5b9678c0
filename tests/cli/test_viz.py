"""`symc viz`: what is drawn, in which format, and what is refused."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import symc as mx
from symc.cli.main import main


@pytest.fixture
def draw(tmp_path, monkeypatch, capsys):
    """Runs `symc viz`; returns exit code, what it prints as JSON, and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def command(*arguments):
        code = main(("viz", *arguments, "--json"))
        seen = capsys.readouterr()
        return code, json.loads(seen.out), seen.err

    return command


@pytest.mark.parametrize("suffix, start", [("svg", "<svg "), ("html", "<!doctype html>"), ("dot", "digraph lenet {")])
def test_formats(draw, suffix, start):
    code, found, err = draw("lenet", "-o", f"net.{suffix}")
    assert (code, err) == (0, "") and found["file"] == f"net.{suffix}" and found["format"] == suffix
    text = Path(f"net.{suffix}").read_text()
    assert text.startswith(start) and ('"20x24x24"' if suffix == "dot" else "1x20x24x24") in text
    assert found["size_bytes"] == Path(f"net.{suffix}").stat().st_size


def test_pdf_and_default_file(draw):
    assert draw("lenet", "-o", "NET.PDF")[0] == 0 and Path("NET.PDF").read_bytes().startswith(b"%PDF")
    assert draw("mlp")[1]["file"] == "mlp.html"


def test_fused_and_profiled(draw):
    plain = draw("lenet", "-o", "plain.svg")[1]
    fused = draw("lenet", "--fused", "-o", "fused.svg")[1]
    assert fused["n_boxes"] < plain["n_boxes"] and "kernels" in fused["facts"] and "matrix" in "".join(fused["legend"])
    code, timed, _ = draw("lenet", "--fused", "--profile", "--runs", "2", "-o", "timed.svg")
    assert code == 0 and " in " in timed["facts"]
    draw("lenet", "--profile", "--runs", "2", "-o", "both.svg")
    for file, is_timed in (("plain", False), ("fused", False), ("timed", True), ("both", True)):
        texts = [t.text for t in ET.parse(f"{file}.svg").getroot().iter("{http://www.w3.org/2000/svg}text")]
        assert any(t and (" us" in t or " ms" in t) for t in texts) == is_timed, file


def test_files(draw):
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc")
    net.save("net-symbol.json")
    code, found, _ = draw("net-symbol.json", "-o", "net.svg")  # neither shapes nor parameters are needed
    assert (code, found["n_boxes"]) == (0, 2)
    assert draw("net-symbol.json", "--weights", "-o", "net.svg", "--force")[1]["n_boxes"] == 4
    assert draw("net-symbol.json", "--shape", "data=2,3", "--fused", "-o", "net.svg", "--force")[0] == 0  # nor here
    code, _, err = draw("net-symbol.json", "--fused", "-o", "net.svg", "--force")
    assert code == 2 and "the shape of input data is not known: give --shape data=" in err
    code, _, err = draw("net-symbol.json", "--shape", "data=2,3", "--profile", "-o", "net.svg", "--force")
    assert code == 2 and "has no parameters: give --params FILE, or --seed N" in err
    assert (
        draw("net-symbol.json", "--shape", "data=2,3", "--profile", "--seed", "1", "-o", "net.svg", "--force")[0] == 0
    )


def test_artifact(draw, capsys):
    assert main(("compile", "mlp", "-o", "mlp.symc")) == 0
    capsys.readouterr()
    code, found, err = draw("mlp.symc", "--fused", "--profile", "--runs", "1", "-o", "net.svg")
    assert (code, err) == (0, "") and " in " in found["facts"]


def test_refusals(draw, monkeypatch):
    code, found, err = draw("lenet", "-o", "net.xyz")
    assert code == 2 and "-o net.xyz: no drawings as 'xyz'; expected svg, html, pdf, dot" in err
    assert draw("lenet", "-o", "net")[0] == 2
    monkeypatch.setattr("symc.visualization.plot.find_spec", lambda _: None)
    code, found, err = draw("lenet", "-o", "net.png")
    assert code == 1 and "needs Graphviz" in found["error"]["message"]
    code, _, err = draw("lenet", "-o", "no-folder/net.svg")
    assert code == 1 and "writing no-folder/net.svg: No such file" in err
    assert not list(Path().glob("net*"))


def test_names_of_files_are_text(draw):
    name = "</script><script>alert(1)</script>"
    mx.sym.relu(mx.sym.Variable("data"), name=name).save("net-symbol.json")
    assert draw("net-symbol.json", "-o", "net.html")[0] == 0
    text = Path("net.html").read_text()
    assert "<script>alert" not in text and text.count("</script>") == 2
