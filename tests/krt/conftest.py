"""A valid KRT, and small changes to it whose place is marked in the text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import pytest

from kai_airflow.krt import check

if TYPE_CHECKING:
    from kai_airflow.krt import Issue, Report

PATH = PurePath("shop/krt.yaml")
MARK = "@@"

VALID = """\
version: v1.0.0
description: A shop
workflows:
  - name: sell
    type: training
    processes:
      - name: hook
        type: trigger
        image: hook:v1
        networking: {targetPort: 80, destinationPort: 8080}
        resourceLimits:
          CPU: {request: 100m, limit: 200m}
          memory: {request: 100M}
      - name: pick
        type: task
        image: pick:v1
        objectStore: {name: goods, scope: workflow}
        nodeSelectors: {disk: ssd}
        resourceLimits:
          CPU: {request: 0.5}
          memory: {request: 1Gi, limit: 2Gi}
        subscriptions: [hook]
      - name: pack
        type: task
        image: pack:v1
        resourceLimits:
          CPU: {request: 1}
          memory: {request: 1Gi}
        subscriptions: [pick.small]
      - name: ship
        type: exit
        image: ship:v1
        resourceLimits:
          CPU: {request: 1}
          memory: {request: 1Gi}
        subscriptions: [pack]
"""


@dataclass(frozen=True)
class Krt:
    """The valid KRT, changed. Where a replacement holds MARK, an issue is expected at that place."""

    text: str = VALID
    line: int | None = None
    column: int | None = None

    def change(self, old: str, new: str) -> Krt:
        """With the one place that reads ``old`` replaced."""
        assert self.text.count(old) == 1, f"{old!r} stands {self.text.count(old)} times in the text"
        text = self.text.replace(old, new)
        if MARK not in text:
            return Krt(text, self.line, self.column)
        before = text[: text.index(MARK)].split("\n")
        return Krt(text.replace(MARK, ""), len(before), len(before[-1]) + 1)

    def check(self, path: PurePath = PATH) -> Report:
        """The report of the text."""
        return check(self.text.encode(), path)

    def error(self) -> Issue:
        """The only error, nothing else being wrong."""
        return one(self.check().errors)


def one(issues: tuple[Issue, ...]) -> Issue:
    """The only issue of a report."""
    assert len(issues) == 1, "\n".join(map(str, issues))
    return issues[0]


@pytest.fixture
def krt() -> Krt:
    return Krt()
