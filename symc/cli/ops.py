"""Lists the operators by family, shows one (signature, inputs, outputs, parameters), or those that a model lacks."""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from .importing import add_import_argument
from .opening import open_symbol
from .report import Report, UsageError

if TYPE_CHECKING:
    from symc.ir.op import Op

EXAMPLES = ("symc ops", "symc ops Convolution", "symc ops pooling", "symc ops --missing m-symbol.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """An operator or a family, optionally."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="an operator, one of its aliases, or a family")
    parser.add_argument(
        "--missing", metavar="MODEL", help="list the operators of a model that symc does not have; exit code 1 if any"
    )
    add_import_argument(parser)


def execute(args: argparse.Namespace) -> Report:
    """All families, one family, one operator, or what a model lacks."""
    if args.missing is not None:
        if args.name is not None:
            raise UsageError("--missing lists what a model lacks: leave out NAME")
        return _missing(args)
    import symc.ops  # noqa: F401  (registers the operators)
    from symc.ir.op import operators, registered_names
    from symc.ops.mxnet import about

    families: dict[str, list[str]] = defaultdict(list)
    for cls in operators():
        families[cls.family].append(cls.name)
    if args.name is None:
        return _all(dict(sorted(families.items())))
    if args.name in registered_names():
        return _one(registered_names()[args.name])
    if args.name in families:
        members = families[args.name]
        return Report({"family": args.name, "operators": members}, "\n".join(members))
    raise UsageError(f"no operator or family {args.name!r}{about(args.name)}")


def _missing(args: argparse.Namespace) -> Report:
    """Every operator that symc lacks, how often the model has it, and where."""
    from symc.ir.absent import absent_nodes
    from symc.ops.mxnet import left_out
    from symc.runtime.table import table

    symbol = open_symbol(args, args.missing)
    found = absent_nodes((n.op, n.name, n.origin) for n in symbol.nodes())
    data = [
        {"operator": operator, "count": len(names), "nodes": names, "left_out": left_out(operator)}
        for operator, names in found.items()
    ]
    if not found:
        return Report({"missing": data}, f"{args.missing}: symc has every operator")
    rows = [(d["operator"], d["count"], ", ".join(d["nodes"])) for d in data]  # type: ignore[arg-type]
    lines = [table(("operator", "count", "nodes"), rows, right="count")]
    lines += [f"{d['operator']}: {d['left_out']}" for d in data if d["left_out"]]
    return Report({"missing": data}, "\n".join(lines), 1)


def _all(families: dict[str, list[str]]) -> Report:
    from symc.runtime.table import table

    n_operators = sum(len(members) for members in families.values())
    rows = [(family, len(members), _wrapped(members)) for family, members in families.items()]
    text = f"{table(('family', 'count', 'operators'), rows, right='count')}\n{n_operators} operators"
    return Report({"n_operators": n_operators, "families": families}, text)


def _wrapped(members: list[str], width: int = 100) -> str:
    text = ", ".join(members)
    return text if len(text) <= width else text[: text.rindex(",", 0, width)] + ", ..."


def _one(cls: type[Op]) -> Report:
    from symc.symbol.functions import make_function, place_of

    namespace, name = place_of(cls.name)
    function = make_function(cls, name, namespace)
    path = "mx.sym." + (name if namespace == "op" else f"{namespace}.{name}")
    signature = f"{path}{getattr(function, '__signature__', '(...)')}"
    params = [_param(p) for p in cls.params().values()]
    states = [] if cls.calls_out else list(cls.aux)
    data: dict[str, Any] = {
        "name": cls.name,
        "aliases": list(cls.aliases),
        "family": cls.family,
        "signature": signature,
        "doc": cls.__doc__,
        "inputs": _inputs(cls),
        "states": states,
        "parameters": params,
    }
    lines = [signature, "", cls.__doc__ or "", "", f"family    {cls.family}"]
    lines += [f"aliases   {', '.join(cls.aliases)}"] if cls.aliases else []
    lines.append(f"inputs    {', '.join(data['inputs'])}")
    lines += [f"states    {', '.join(states)}"] if states else []
    lines += ["", "parameters"] if params else []
    for p in params:
        lines += [f"  {p['name']} : {p['type']}", f"      {p['doc']}"]
    return Report(data, "\n".join(lines))


def _inputs(cls: type[Op]) -> list[str]:
    if cls.calls_out:
        return ["those that its definition lists"]
    return [f"any number, counted by {cls.variadic}"] if cls.variadic else list(cls.arguments)


def _param(p: Any) -> dict[str, Any]:
    default = None if p.is_required else repr(p.default)
    return {"name": p.name, "type": p.type_text, "is_required": p.is_required, "default": default, "doc": p.doc}
