"""``kai-airflow compile``: what a KRT file becomes."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from kai_airflow.cli import FOUND_WRONG, products, terminal

if TYPE_CHECKING:
    import argparse

    from kai_airflow.plan import Plan

SUMMARY = "print what a KRT file becomes: its DAGs, their tasks and every name"
EPILOG = """\
formats:
  text      what the file says, and what follows from it; what is left to Airflow's defaults isn't shown
  json      the whole plan: times as {"time": ISO 8601, "timezone": name}, intervals as "@every 5400s"
  mermaid   a flowchart of each workflow below a comment with its DAG's id; a picture is of one: add --workflow NAME

Values that look like secrets are shown as ***.
Exit codes: 0 all is well, 1 the file is invalid (as `kai-airflow validate` says), 2 it can't be compiled.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A file, the part of it, and the form of the answer."""
    import argparse

    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", metavar="FILE", help="a KRT file")
    parser.add_argument("--workflow", metavar="NAME", help="of several, this one alone (all)")
    parser.add_argument(
        "--format", choices=("text", "json", "mermaid"), default="text", help="for people, for programs, as a picture"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the plan and gives 0; of an invalid file prints what ``validate`` prints and gives 1."""
    from kai_airflow.cli import validate
    from kai_airflow.plan import compile_product

    report = products.load(args.file)
    if report.product is None:
        args.files, args.format = [args.file], "json" if args.format == "json" else "text"
        validate.run(args)
        return FOUND_WRONG
    plan = compile_product(report.product)
    _print(plan if args.workflow is None else _only(plan, args.workflow), args.format)
    return 0


def _only(plan: Plan, workflow: str) -> Plan:
    """The plan of one workflow."""
    name = products.chosen("workflow", workflow, [workflow.name for workflow in plan.workflows])
    return dataclasses.replace(plan, workflows=tuple(found for found in plan.workflows if found.name == name))


def _print(plan: Plan, form: str) -> None:
    if form == "json":
        from kai_airflow.plan.plain import masked

        print(json.dumps(masked(plan), indent=2))
    elif form == "mermaid":
        _print_charts(plan)
    else:
        from kai_airflow.cli.readable_plan import lines

        terminal.print_lines(lines(plan))


def _print_charts(plan: Plan) -> None:
    """Whole lines, however long: half of one would be no Mermaid."""
    from kai_airflow.plan import flowchart

    charts = (f"%% DAG {workflow.dag_id}\n{flowchart(workflow)}" for workflow in plan.workflows)
    for line in "\n".join(charts).splitlines():
        terminal.print_line(line)
