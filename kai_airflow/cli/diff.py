"""``kai-airflow diff``: what would change if one KRT file took the place of another."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from kai_airflow.cli import CANNOT, FOUND_WRONG, products, terminal
from kai_airflow.cli.terminal import CYAN, DIM, GREEN, RED, YELLOW

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from kai_airflow.krt import Product, Report
    from kai_airflow.plan.changes import Change, Changes, DagChange, EdgeChange, TaskChange
    from kai_airflow.plan.consequences import Consequence

SUMMARY = "say what would change if one KRT file took the place of another"
EPILOG = """\
The lines of text are grouped by DAG:
  +  comes    -  goes    ~  changes    !  follows from it

Each file is its product's own: one without x-airflow.product is named by its file or folder. To compare with the last
commit:
  git worktree add ../before HEAD
  kai-airflow diff ../before/dags/shop/krt.yaml dags/shop/krt.yaml

json is one object: old and new (file, product, version), changed, changes (path, old, new) and consequences (code,
message) of the product, dags (change, old_id, new_id, changes, tasks, edges, consequences), and names: what comes and
goes in NATS and Kubernetes. Values that look like secrets are compared, and shown as ***.
Exit codes, as those of diff: 0 nothing would change, 1 something would, 2 a file is invalid or can't be compared.
"""

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "renamed": "~"}
_COLOURS = {"+": GREEN, "-": RED, "~": YELLOW, "!": CYAN}
_HEAD = frozenset({("product",), ("version",)})
_GIST = frozenset({("type",), ("mode",), ("schedule",)})
_IMAGE = ("image",)
_KINDS = {"deployment": "Deployment"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Two files, and the form of the answer."""
    import argparse

    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("old", metavar="OLD", help="the KRT file that is in force")
    parser.add_argument("new", metavar="NEW", help="the one that would take its place")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="for people, or for programs")


def run(args: argparse.Namespace) -> int:
    """Prints the changes: 0 where there is none, 1 where there are; 2 and what ``validate`` prints of invalid files."""
    from kai_airflow.plan import compile_product
    from kai_airflow.plan.changes import compare

    old, new = (products.load(file) for file in (args.old, args.new))
    if old.product is None or new.product is None:
        return _invalid(args, old, new)
    changes = compare(compile_product(old.product), compile_product(new.product))
    if args.format == "json":
        print(json.dumps(_as_dict(args, old.product, new.product, changes), indent=2))
    else:
        _print_text(old.product, new.product, changes)
    return FOUND_WRONG if changes else 0


def _invalid(args: argparse.Namespace, old: Report, new: Report) -> int:
    from kai_airflow.cli import validate

    invalid = [file for file, report in ((args.old, old), (args.new, new)) if not report.valid]
    args.files = list(dict.fromkeys(invalid))
    validate.run(args)
    return CANNOT


def _as_dict(args: argparse.Namespace, old: Product, new: Product, changes: Changes) -> dict[str, Any]:
    files = (("old", args.old, old), ("new", args.new, new))
    heads = {side: {"file": file, "product": of.name, "version": of.version} for side, file, of in files}
    return {**heads, "changed": bool(changes), **dataclasses.asdict(changes)}


def _print_text(old: Product, new: Product, changes: Changes) -> None:
    paint = terminal.painter()
    before, after = (f"{product.name} {product.version}" for product in (old, new))
    terminal.print_line(before if before == after else f"{before} -> {after}")
    for line in _lines(changes):
        sign = line.lstrip()[:1]
        terminal.print_line(paint(_COLOURS[sign], line) if sign in _COLOURS else line)
    if not changes:
        terminal.print_line(paint(DIM, "nothing would change"))


def _lines(changes: Changes) -> Iterator[str]:
    yield from _settings("  ", (change for change in changes.changes if change.path not in _HEAD))
    yield from _consequences(changes.consequences)
    for dag in changes.dags:
        yield ""
        yield from _dag(dag)
    told = [name for name in changes.names if name.kind != "subject"]  # each is told as its stream, process and edge
    if told:
        yield from ("", "NATS and Kubernetes")
    yield from (f"  {_SIGNS[name.change]} {_KINDS.get(name.kind, name.kind)} {name.name}" for name in told)


def _dag(dag: DagChange) -> Iterator[str]:
    """Of what comes the gist, since `kai-airflow compile` tells all; of what goes nothing but that it does."""
    yield f"{_SIGNS[dag.change]} DAG {_name(dag.old_id, dag.new_id)}"
    if dag.change == "added":
        yield from _settings("    ", (change for change in dag.changes if change.path in _GIST))
        yield from (_added(task) for task in dag.tasks)
    elif dag.change != "removed":
        yield from _settings("    ", dag.changes)
        for task in dag.tasks:
            yield from _task(task)
        yield from map(_edge, dag.edges)
    yield from _consequences(dag.consequences, "    ")


def _task(task: TaskChange) -> Iterator[str]:
    if task.change == "added":
        yield _added(task)
        return
    yield f"    {_SIGNS[task.change]} task {_name(task.old_name, task.new_name)}"
    if task.change != "removed":
        yield from _settings("        ", task.changes)


def _added(task: TaskChange) -> str:
    image = next(change.new for change in task.changes if change.path == _IMAGE)
    return f"    + task {task.new_name}, image {terminal.readable(image)}"


def _edge(edge: EdgeChange) -> str:
    heard = f"gets the replies of {edge.subscription}" if edge.reply else f"hears {edge.subscription}"
    return f"    {_SIGNS[edge.change]} {edge.process} {terminal.readable(heard)}"


def _name(old: str | None, new: str | None) -> str:
    return " -> ".join(dict.fromkeys(name for name in (old, new) if name is not None))


def _consequences(found: Iterable[Consequence], indent: str = "  ") -> Iterator[str]:
    return (f"{indent}! {terminal.readable(consequence.message)}" for consequence in found)


def _settings(indent: str, changes: Iterable[Change]) -> Iterator[str]:
    for change in changes:
        sign = "+" if change.old is None else "-" if change.new is None else "~"
        yield f"{indent}{sign} {terminal.readable('.'.join(change.path))}: {_values(change)}"


def _values(change: Change) -> str:
    old, new = change.old, change.new
    if old is None or new is None:
        return _text(new if old is None else old)
    if old == new:
        return "another secret"
    if _is_texts(old) and _is_texts(new) and set(old) != set(new):
        come, gone = ([item for item in ours if item not in theirs] for ours, theirs in ((new, old), (old, new)))
        return terminal.readable(", ".join([*(f"+ {item}" for item in come), *(f"- {item}" for item in gone)]))
    return f"{_text(old)} -> {_text(new)}"


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _text(value: Any) -> str:
    """One line; of two long ones both have their place."""
    if _is_texts(value):
        value = ", ".join(value)
    return terminal.readable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
