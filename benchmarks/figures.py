"""What was measured: tables of medians, for people and for machines."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Unit:
    """How a column's figures are written."""

    name: str
    digits: int

    def show(self, value: float) -> str:
        """A figure without its unit."""
        return f"{value:.{self.digits}f}"


SECONDS, MILLISECONDS, COUNT, RATIO = Unit("s", 2), Unit("ms", 2), Unit("", 0), Unit("times", 2)
MEGABYTES = Unit("MB", 1)


@dataclass
class Table:
    """Rows and columns of figures, each of which is measured several times.

    :param columns: the unit of each
    :param at_most: how often it is measured, however often is wanted
    """

    title: str
    columns: Mapping[str, Unit]
    at_most: int | None = None
    _values: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def add(self, row: str, *figures: float) -> None:
        """One more measurement of a row: a figure for each column."""
        for column, figure in zip(self.columns, figures, strict=True):
            self._values[row][column].append(figure)

    def markdown(self) -> str:
        """Medians, with the least and the greatest in brackets."""
        heads = [f"{column} ({unit.name})" if unit.name else column for column, unit in self.columns.items()]
        lines = [["", *heads], ["---", *("---:" for _ in heads)]]
        for row, columns in self._values.items():
            lines.append([row, *(_shown(columns[column], unit) for column, unit in self.columns.items())])
        return "\n".join([f"### {self.title}", "", *(f"| {' | '.join(line)} |" for line in lines)])

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = {
            row: {column: _described(columns[column], unit) for column, unit in self.columns.items()}
            for row, columns in self._values.items()
        }
        return {"title": self.title, "rows": rows}


def _shown(values: Sequence[float], unit: Unit) -> str:
    return f"{unit.show(median(values))} ({unit.show(min(values))} to {unit.show(max(values))})"


def _described(values: Sequence[float], unit: Unit) -> dict[str, Any]:
    return {
        "unit": unit.name,
        "median": median(values),
        "min": min(values),
        "max": max(values),
        "values": list(values),
    }
