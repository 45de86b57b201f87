"""From a task in Airflow's UI to what it was fed and what it published."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import RuntimeTaskInstanceProtocol


class MessagesLink(BaseOperatorLink):
    """The page of the task's manifest, as soon as a try has ended."""

    name = "KAI messages"

    def get_link(self, operator: BaseOperator, *, ti_key: RuntimeTaskInstanceProtocol) -> str:  # type: ignore[override]  # noqa: ARG002
        """Its path on this Airflow, whatever host people reach it by."""
        path = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
        where = {"dag_id": ti_key.dag_id, "run_id": ti_key.run_id, "task_id": ti_key.task_id}
        return f"{path}/kai/messages?{urlencode(where)}"
