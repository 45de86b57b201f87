"""``kai-airflow init``: a small product to start from, which runs at once on one machine."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kai_airflow.cli.homes import DAGS
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

SUMMARY = "write a small product to start from, which runs at once on this machine"
EPILOG = """\
In DIR it makes the folder NAME: a krt.yaml with a trigger, a task and an exit, and their programs in Python. DIR's
images.yaml gets a line for each of the three images. What is there stays as it is: an existing NAME is an error.
"""
NAME = "my-product"

_STARTER = Path(__file__).with_name("starter")
_PROGRAMS = "programs"
_IGNORED = f"{_PROGRAMS}/\n"  # Airflow looks for DAGs in whatever reads as if it held one
_IMAGES = "images.yaml"
_IMAGES_HEAD = "# On one machine these programs run for images. IMAGE: [command, argument, ...]\n"
_WORKFLOW = "greeting"


def arguments(parser: argparse.ArgumentParser) -> None:
    """A name, and where it goes."""
    parser.epilog = EPILOG
    parser.add_argument("name", nargs="?", metavar="NAME", default=NAME, help=f"of the product ({NAME})")
    parser.add_argument("--dags", metavar="DIR", type=Path, default=DAGS, help=f"the dags folder (./{DAGS})")


def run(args: argparse.Namespace) -> int:
    """Writes the product and says what next."""
    _require_name(args.name)
    folder = args.dags / args.name
    if os.path.lexists(folder):
        raise KaiAirflowError(f"{folder} exists, and nothing is overwritten. Remedy: choose another name, or move it.")
    try:
        args.dags.mkdir(exist_ok=True)
        _write(folder, args.name)
    except OSError as error:
        where = error.filename or folder
        raise KaiAirflowError(f"{where}: {error.strerror}. Remedy: choose another folder with --dags.") from error
    print(_next(args.dags, args.name))
    return 0


def _require_name(name: str) -> None:
    from kai_airflow.krt.forms import LONGEST_PRODUCT
    from kai_airflow.krt.place import Field, Place
    from kai_airflow.krt.rules.common import bad_name

    for issue in bad_name(Field(Place("", None, None), name), "the product's name", LONGEST_PRODUCT):
        raise KaiAirflowError(f"{issue.message}. Remedy: {issue.remedy}")


def _write(folder: Path, name: str) -> None:
    """All in a hidden folder that gets its name at the end: who is interrupted can do it again."""
    made = folder.with_name(f".{name}-{secrets.token_hex(4)}")
    try:
        for path, text in _files(name).items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_text(text)
        _add_images(folder.with_name(_IMAGES), name)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _files(name: str) -> dict[str, str]:
    """Path and text of each."""
    found = [file for file in _STARTER.rglob("*") if file.suffix in (".yaml", ".py")]
    texts = {str(file.relative_to(_STARTER)): file.read_text().replace(NAME, name) for file in found}
    return {**texts, ".airflowignore": _IGNORED}


def _add_images(file: Path, name: str) -> None:
    """Add what is missing to the image map, at its end: all that is there stays as it is."""
    existed = file.exists()
    before = file.read_bytes() if existed else _IMAGES_HEAD.encode()
    known, wanted = _images(before) or {}, _wanted_images(name)
    for image, words in wanted.items():
        if known.get(image, words) != words:
            raise KaiAirflowError(f"{file} has another command for {image}. Remedy: choose another name.")
    missing = "".join(f"{image}: [{', '.join(words)}]\n" for image, words in wanted.items() if image not in known)
    addition = b"\n" * (not before.endswith(b"\n") and before != b"") + missing.encode()
    if _images(before + addition) != {**known, **wanted}:
        raise KaiAirflowError(
            f"{file} can't be added to. Remedy: mend it, or write into it by hand:\n{missing.rstrip()}"
        )
    with file.open("ab") as images:
        images.write(addition if existed else before + addition)


def _wanted_images(name: str) -> dict[str, list[str]]:
    programs = sorted((_STARTER / _PROGRAMS).glob("*.py"))
    return {
        f"example.com/{name}/{program.stem}:v1": ["python", f"./{name}/{_PROGRAMS}/{program.name}"]
        for program in programs
    }


def _images(text: bytes) -> Mapping[str, Any] | None:
    """An image map; None where it is none."""
    import yaml

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _next(dags: Path, name: str) -> str:
    folder = dags / name
    file = shlex.quote(str(folder / "krt.yaml"))
    up = "kai-airflow up" if dags == DAGS else f"kai-airflow up --dags {shlex.quote(str(dags))}"
    return f"""\
product {name} is written:
  {folder / "krt.yaml"}
  {folder / _PROGRAMS}: what its processes do
  {dags / _IMAGES}: what runs for their images on this machine

one run of it:
  kai-airflow run {file} --payload '"Ada"'
once you have changed it:
  kai-airflow validate {file}
an Airflow with the DAG {name}.{_WORKFLOW}:
  {up}
and beside it, a URL that starts runs and answers with their results:
  kai-airflow publish {name}"""
