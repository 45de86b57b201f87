"""Pages as HTML. All that a KRT, Airflow or a cluster says is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kai_airflow.bridge.lifecycle.status import ProductStatus
    from kai_airflow.ui.messages import Messages

_TEMPLATES = Environment(
    loader=PackageLoader("kai_airflow.ui"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["segment"] = lambda text: quote(text, safe="")


def products_page(products: Sequence[ProductStatus], troubles: Sequence[str]) -> str:
    """The first page: products, versions, states, workflows, URLs, and what couldn't be looked up."""
    return _TEMPLATES.get_template("products.html").render(products=products, troubles=troubles)


def messages_page(dag_id: str, run_id: str, task_id: str, shown: Messages) -> str:
    """The messages of a task."""
    template = _TEMPLATES.get_template("messages.html")
    return template.render(dag_id=dag_id, run_id=run_id, task_id=task_id, shown=shown, manifest=shown.manifest)
