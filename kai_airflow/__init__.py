"""Run AI workflows described in Konstellation KAI's KRT files on Apache Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kai_airflow.dag import load_krt as load_krt

__version__ = "0.1.0"
__all__ = ["__version__", "load_krt"]


def __getattr__(name: str) -> Any:
    """``load_krt`` needs Airflow, which takes seconds to import: not before somebody asks for it."""
    if name == "load_krt":
        from kai_airflow.dag import load_krt

        return load_krt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
