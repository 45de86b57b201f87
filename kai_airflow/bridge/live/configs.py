"""What the Secrets of long-lived processes hold, and when they hold something else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kai_airflow import kube
from kai_airflow.kube import live

if TYPE_CHECKING:
    from kai_airflow.bridge.live.handover import Place, Wanted
    from kai_airflow.bridge.site import Site
    from kai_airflow.kube.objects import Manifest


@dataclass
class Configs:
    """The content of each Secret and its version, which is a moment: pods roll over where it is another one.

    Not the Secret's resourceVersion, which a label of somebody's changes as well; nor a hash, which tells of secrets.
    """

    site: Site
    _known: dict[Place, tuple[dict[str, str], str]] = field(default_factory=dict)

    def of(self, place: Place, one: Wanted, found: Manifest | None) -> tuple[dict[str, str], str]:
        """What a process's Secret should hold, and the version of that; ``found`` is what another bridge has left."""
        data = live.config_data(self._app_config(one))
        if place not in self._known and found:
            notes = found["metadata"].get("annotations") or {}
            self._known[place] = (found.get("data") or {}, notes.get(live.CONFIG_ANNOTATION, ""))
        known, version = self._known.get(place, ({}, ""))
        if known != data or not version:
            self._known[place] = (data, version := datetime.now(UTC).isoformat())
        return data, version

    def forget(self, place: Place) -> None:
        """Nothing is there any more."""
        self._known.pop(place, None)

    def _app_config(self, one: Wanted) -> dict[str, Any]:
        workflow, process = one.workflow, one.process
        if process.live is None:
            raise ValueError(f"{process.name} doesn't outlive a run")
        wiring = kube.Wiring(
            url=self.site.nats.pods_url,
            stream=workflow.live_stream,
            output=process.live.output,
            inputs=tuple(one.subject for one in process.live.inputs),
        )
        return kube.app_config(workflow, process, wiring, self.site.services)
