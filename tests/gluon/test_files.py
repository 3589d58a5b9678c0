"""Damaged parameter files and damaged files of `Block.save`: one error that says what is wrong."""

from __future__ import annotations

import json

import pytest

import symc as mx
from symc.core.errors import FormatError, MissingFileError
from symc.gluon import SymbolBlock, nn


def net() -> nn.HybridSequential:
    made = nn.HybridSequential()
    made.add(nn.Dense(2, in_units=3))
    made.initialize()
    return made


def imported(path: str) -> None:
    symbol = f"{path}-symbol.json"
    mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=2).save(symbol)
    SymbolBlock.imports(symbol, ["data"], path)


def module(path: str) -> None:
    made = mx.mod.Module(mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=2), label_names=None)
    made.bind([("data", (1, 3))])
    made.load_params(path)


LOADS = {
    "block": lambda path: net().load_parameters(path),
    "parameters": lambda path: net().collect_params().load(path),
    "symbol block": imported,
    "module": module,
}


@pytest.mark.filterwarnings("ignore:Cannot decide type")  # of an import's data, as in MXNet
@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_parameters_without_names_are_refused(load, tmp_path):
    path = str(tmp_path / "list.params")
    mx.nd.save(path, [mx.nd.ones((2, 3))])
    with pytest.raises(FormatError, match=r"list\.params: the arrays have no names"):
        load(path)


DAMAGES = {
    "no mark of a graph": (lambda block: block.pop("hybridized"), "has no 'hybridized'"),
    "children in a list": (lambda block: block.update(children=[1]), "has no name for its child 'dense"),
    "another child": (lambda block: block.update(children={"x": "0"}), "has no name for its child 'dense"),
}


@pytest.mark.parametrize(("damage", "text"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_of_a_saved_block_is_refused(damage, text, tmp_path):
    prefix = str(tmp_path / "net")
    with mx.name.NameManager():
        net().save(prefix)
    path = tmp_path / "net-model.json"
    content = json.loads(path.read_text())
    damage(content["hybridsequential0"])
    path.write_text(json.dumps(content))
    with mx.name.NameManager(), pytest.raises(FormatError, match=rf"net-model\.json: block 'hybridsequential0' {text}"):
        net().load(prefix)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(MissingFileError, match=r"none-model\.json"):
        net().load(str(tmp_path / "none"))
