"""The folders of a stack: where it is kept, and what it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

HOME = Path(".kai-airflow")
DAGS = Path("dags")


def add_home(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Declare ``--home``."""
    parser.add_argument("--home", metavar="DIR", type=Path, default=HOME, help=f"{meaning} (./{HOME})")
