"""What the bridge needs to know of a DAG."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Dag:
    """What Airflow knows of a DAG.

    ``broken``: its file has errors; ``tags``: what stands behind the colon, by what is before; ``file``: its KRT, below
    the KRTs' folder.
    """

    paused: bool
    broken: bool
    tags: Mapping[str, str] = field(default_factory=dict)
    file: str = ""

    @classmethod
    def of(cls, *, paused: object, broken: object, tags: Iterable[str], module: str | None) -> Dag:
        """Of what Airflow says; ``module``: the generated one."""
        pairs = dict(tag.split(":", 1) for tag in tags if ":" in tag)
        return cls(bool(paused), bool(broken), pairs, (module or "").removesuffix(".py"))

    def is_of(self, files: Iterable[Path]) -> bool:
        """Whether its KRT is one of these."""
        return bool(self.file) and any(file.as_posix().endswith(f"/{self.file}") for file in files)
