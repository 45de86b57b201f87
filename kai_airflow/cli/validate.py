"""``kai-airflow validate``: says everything that is wrong with KRT files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kai_airflow.cli import products
from kai_airflow.cli.terminal import DIM, GREEN, RED, YELLOW, painter, print_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from kai_airflow.cli.terminal import Paint
    from kai_airflow.krt import Issue, Report

SUMMARY = "check KRT files and say everything that is wrong with them"


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
    parser.add_argument("files", nargs="+", metavar="FILE", help="a KRT file, or a folder to search for them")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="for people, or one list of JSON")


def run(args: argparse.Namespace) -> int:
    """Prints a report of every file; 0 where all are valid, 1 where any isn't."""
    checked = [found for file in args.files for found in _check(file)]
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
