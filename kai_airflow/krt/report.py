"""What a check of a KRT says: a report of issues, and the error that carries them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kai_airflow.errors import KaiAirflowError
from kai_airflow.krt.wording import counted, printable

if TYPE_CHECKING:
    from pathlib import PurePath

    from kai_airflow.krt.model import Product


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong with a KRT.

    ``code`` is stable and meant for programs; ``location`` is the place as KAI names it
    (``krt.workflows[0].processes[1].subscriptions``); ``line`` and ``column`` count from 1 and are None where an issue
    has no place in the text. ``message`` says what is wrong, ``remedy`` what to do. No issue quotes a secret.
    """

    code: str
    location: str
    line: int | None
    column: int | None
    message: str
    remedy: str

    def as_dict(self) -> dict[str, str | int | None]:
        """The fields, in the order of the class."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        place = "" if self.line is None else f"{self.line}:{self.column}: "
        return f"{place}{self.message} [{self.code} at {self.location}] {self.remedy}"


class KrtError(KaiAirflowError):
    """A KRT that breaks rules: ``path`` and all its ``errors``."""

    def __init__(self, path: PurePath, errors: tuple[Issue, ...]) -> None:
        self.path = path
        self.errors = errors
        head = f"{printable(str(path))}: {counted(len(errors), 'error')}"
        super().__init__("\n".join([head, *(f"  {issue}" for issue in errors)]))

    def __reduce__(self) -> tuple[type[KrtError], tuple[PurePath, tuple[Issue, ...]]]:
        # An exception is pickled by its message alone, and errors of a parse travel between Airflow's processes.
        return type(self), (self.path, self.errors)


@dataclass(frozen=True, slots=True)
class Report:
    """All that a check found. ``product`` is there when nothing is wrong; issues are in the order of the text."""

    path: PurePath
    product: Product | None
    errors: tuple[Issue, ...]
    warnings: tuple[Issue, ...]

    @property
    def valid(self) -> bool:
        """Whether there is a product to work with."""
        return self.product is not None

    def require(self) -> Product:
        """The product; raises KrtError with every error where there is none."""
        if self.product is None:
            raise KrtError(self.path, self.errors)
        return self.product
