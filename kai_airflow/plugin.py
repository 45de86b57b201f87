"""The Airflow plugin: the page "KAI" in Airflow's navigation.

Every part of Airflow loads it, workers at each task: it imports the page only where the API server asks for it.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

log = logging.getLogger(__name__)

PREFIX = "/kai"


class KaiPlugin(AirflowPlugin):
    """What Airflow takes from it: a FastAPI app, and a view that shows it."""

    name = "kai"
    external_views = [
        {
            "name": "KAI",
            # Relative, so that it is found where Airflow has a path of its own, too.
            "href": f"{PREFIX[1:]}/",
            "icon": f"{PREFIX}/static/light.svg",
            "icon_dark_mode": f"{PREFIX}/static/dark.svg",
            "url_route": "kai",
            "destination": "nav",
            "nav_top_level": True,
        }
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The app behind the page; none where it can't be made: that must not keep Airflow's UI from starting."""
        try:
            from kai_airflow.ui.app import app
        except Exception:
            log.exception("The page KAI can't be shown")
            return []
        return [{"name": "KAI", "app": app, "url_prefix": PREFIX}]
