"""``kai-airflow validate``: says everything that is wrong with KRT files."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kai_airflow.cli import products
from kai_airflow.cli.terminal import DIM, GREEN, RED, YELLOW, painter, print_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from kai_airflow.cli.terminal import Paint
    from kai_airflow.krt import Issue, Report

SUMMARY = "check KRT files and say everything that is wrong with them"
EPILOG = """\
A product is named by x-airflow.product, else by its file (shop.krt.yaml), else by its folder (shop/krt.yaml); in a
FILE that is a folder, as Airflow does with that for its dags folder. No two of all the files may give the same DAG id.

Exit codes: 0 every file is valid (warnings don't count), 1 one isn't or can't be read, 2 the arguments are wrong.
"""

_MOST_OTHERS = 3


@dataclass(frozen=True, slots=True)
class _Checked:
    """A report and the file's name as the user gave it."""

    file: str
    report: Report

    def as_dict(self) -> dict[str, object]:
        return {
            "file": self.file,
            "valid": self.report.valid,
            "errors": [issue.as_dict() for issue in self.report.errors],
            "warnings": [issue.as_dict() for issue in self.report.warnings],
        }


def arguments(parser: argparse.ArgumentParser) -> None:
    """Files or folders, and the form of the answer."""
    import argparse

    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="+", metavar="FILE", help="a KRT file, or a folder to search for them")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="for people, or one list of JSON")


def run(args: argparse.Namespace) -> int:
    """Prints a report of every file; 0 where all are valid, 1 where any isn't."""
    checked = _with_duplicates([found for file in args.files for found in _check(file)])
    if args.format == "json":
        print(json.dumps([one.as_dict() for one in checked], indent=2))
    else:
        _print_text(checked)
    return 0 if all(one.report.valid for one in checked) else 1


def _check(file: str) -> Iterator[_Checked]:
    """A file, or each KRT of a folder."""
    from kai_airflow import krt

    path = Path(file)
    if not path.is_dir():
        yield _Checked(file, products.load(file))
        return
    found = krt.find(path)
    for below in found:
        yield _Checked(str(path / below), krt.load(path / below, below))
    if not found:
        yield _Checked(file, _nothing_in(path))


def _nothing_in(folder: Path) -> Report:
    from kai_airflow.krt import Issue, Report

    message = "the folder holds no krt.yaml and no *.krt.yaml"
    remedy = "Name the folder that holds them, or a file; hidden folders are not searched."
    return Report(folder, None, (Issue("no-krt-file", "krt", None, None, message, remedy),), ())


def _with_duplicates(checked: Sequence[_Checked]) -> list[_Checked]:
    """The reports, with an error for each DAG id that another file gives, too."""
    from kai_airflow.plan import dag_ids

    ids = [dag_ids(one.report.product) if one.report.product else () for one in checked]
    givers: dict[str, dict[Path, str]] = {}  # the files as the user named them, by what they really are
    for one, own in zip(checked, ids, strict=True):
        for dag_id in own:
            givers.setdefault(dag_id, {}).setdefault(_identity(one.file), one.file)
    return [_with_errors(one, list(_duplicates(one.file, own, givers))) for one, own in zip(checked, ids, strict=True)]


def _identity(file: str) -> Path:
    """Whatever way leads to its folder. A link to a file counts as another one, since Airflow is given both."""
    path = Path(file)
    return path.parent.resolve() / path.name


def _duplicates(file: str, ids: Sequence[str], givers: Mapping[str, Mapping[Path, str]]) -> Iterator[Issue]:
    from kai_airflow.krt import Issue
    from kai_airflow.krt.wording import quoted

    for position, dag_id in enumerate(ids):
        others = [other for identity, other in givers[dag_id].items() if identity != _identity(file)]
        if others:
            message = f"the DAG id {quoted(dag_id)} is also that of a workflow in {_some(others)}"
            remedy = (
                "Rename the workflow, or the product by x-airflow.product; to have two versions side by side, set "
                "x-airflow: {version_in_dag_id: true} in both."
            )
            yield Issue("duplicate-dag-id", f"krt.workflows[{position}].name", None, None, message, remedy)


def _some(files: Sequence[str]) -> str:
    """The first of them; each whole, since a path's beginning tells little."""
    from kai_airflow.krt.wording import printable

    shown = ", ".join(map(printable, files[:_MOST_OTHERS]))
    return f"{shown} and {len(files) - _MOST_OTHERS} more" if len(files) > _MOST_OTHERS else shown


def _with_errors(checked: _Checked, errors: Sequence[Issue]) -> _Checked:
    if not errors:
        return checked
    return replace(checked, report=replace(checked.report, product=None, errors=(*checked.report.errors, *errors)))


def _print_text(checked: Sequence[_Checked]) -> None:
    paint = painter()
    for one in checked:
        _print_issues(one, paint)
    print_line(_summary(checked, paint))


def _print_issues(checked: _Checked, paint: Paint) -> None:
    errors, warnings = paint(RED, "error"), paint(YELLOW, "warning")
    severities = [(errors, issue) for issue in checked.report.errors]
    severities += [(warnings, issue) for issue in checked.report.warnings]
    for severity, issue in severities:
        code = paint(DIM, f"[{issue.code}]")
        print_line(f"{_place(checked.file, issue)}: {severity}: {issue.message} {code}")
        print_line(f"    {paint(DIM, f'at {issue.location}')}")
        print_line(f"    {issue.remedy}")


def _place(file: str, issue: Issue) -> str:
    from kai_airflow.krt.wording import printable

    return ":".join([printable(file), *(str(number) for number in (issue.line, issue.column) if number is not None)])


def _summary(checked: Sequence[_Checked], paint: Paint) -> str:
    from kai_airflow.krt.wording import counted

    errors = counted(sum(len(one.report.errors) for one in checked), "error")
    warnings = counted(sum(len(one.report.warnings) for one in checked), "warning")
    invalid = sum(not one.report.valid for one in checked)
    verdict = paint(RED, f"{invalid} invalid") if invalid else paint(GREEN, "all valid")
    return f"{counted(len(checked), 'file')} checked, {verdict}: {errors}, {warnings}"
