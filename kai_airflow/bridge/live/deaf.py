"""Processes that run and don't listen: they are started anew, once; where that doesn't help, it is told.

KAI's SDKs give up reconnecting to NATS after 60 attempts, two seconds apart, and don't exit: after a longer outage all
pods run, and nobody takes what is sent to them.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube.found import is_ready
from kai_airflow.kube.restarts import Restart

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from kai_airflow.bridge.live.handover import Place, Wanted
    from kai_airflow.bridge.live.nats_protocol import LiveNats
    from kai_airflow.kube.objects import Manifest
    from kai_airflow.plan.names import Stream

log = logging.getLogger(__name__)

LOOK = 60.0  # seconds between two looks, each of which lists the consumers of every stream
# Seconds, at least, for which nobody has listened though all is well: an SDK that hasn't given up is back within few.
UNHEARD = 180.0
REST = timedelta(minutes=10)  # from one restart of a process to its next


@dataclass
class Deaf:
    """Looks who listens. ``trouble``: to whom nobody does though their pods were started anew, by place."""

    nats: LiveNats
    trouble: dict[Place, str] = field(default_factory=dict)
    _since: dict[Place, float] = field(default_factory=dict)
    _restarts: dict[Place, Restart] = field(default_factory=dict)

    def restart(self, place: Place, found: Manifest | None) -> Restart:
        """The last restart of a process; ``found``: its Deployment, which says what another bridge has asked for."""
        return self._restarts.setdefault(place, Restart.of(found))

    def forget(self, place: Place) -> None:
        """Nothing is there any more."""
        self._restarts.pop(place, None)

    async def look(self, wanted: Mapping[Place, Wanted], deployments: Mapping[Place, Manifest]) -> Set[Place]:
        """Look at all that should live, once.

        :returns: whose Deployment has to be applied, since its restart has changed
        """
        self._since = {place: since for place, since in self._since.items() if place in wanted}
        self.trouble = {place: told for place, told in self.trouble.items() if place in wanted}
        try:
            unheard = await self._unheard({one.workflow.live_stream for one in wanted.values()})
        except KaiAirflowError as error:
            log.warning("nobody can tell which processes listen: %s", error)
            self._since.clear()
            return frozenset()
        there = ((place, one, deployments.get(place)) for place, one in wanted.items())
        return {place for place, one, found in there if self._judge(place, one, found, unheard)}

    async def _unheard(self, streams: Set[Stream]) -> dict[Stream, Set[str]]:
        return {stream: await self.nats.unheard(stream) for stream in streams}

    def _judge(self, place: Place, one: Wanted, found: Manifest | None, unheard: Mapping[Stream, Set[str]]) -> bool:
        """Whether its restart has changed."""
        live, among = one.process.live, unheard[one.workflow.live_stream]
        silent = [each.consumer for each in (live.inputs if live else ()) if each.consumer in among]
        if not silent or not is_ready(found):
            self._since.pop(place, None)
            self.trouble.pop(place, None)
            return is_ready(found) and self._has_helped(place, found)
        now = asyncio.get_running_loop().time()
        quiet = min(now - self._since.setdefault(place, now), self.nats.steady())
        if quiet < max(UNHEARD, one.process.start_timeout or 0.0):
            return False
        return self._has_begun(place, found, f"consumer {silent[0]} of stream {one.workflow.live_stream}")

    def _has_helped(self, place: Place, found: Manifest | None) -> bool:
        restart = self.restart(place, found)
        if not restart.asked or restart.has_helped:
            return False
        self._restarts[place] = restart.helped()
        return True

    def _has_begun(self, place: Place, found: Manifest | None, where: str) -> bool:
        """Whether a restart has, since the one before helped, and wasn't just now."""
        restart = self.restart(place, found)
        if restart.asked and not restart.has_helped:
            self._complain(place, where)
            return False
        if restart.is_within(REST):
            return False
        log.warning("%s/%s: nobody listens on %s though its pods run; they are started anew", *place, where)
        self._restarts[place] = Restart.now()
        del self._since[place]
        return True

    def _complain(self, place: Place, where: str) -> None:
        told = (
            f"nobody listens on {where} though its pods run, and starting them anew didn't help. Remedy: see in their "
            "log whether they reach NATS, and subscribe as KAI's SDKs do; where they need long for it, say so "
            "(x-airflow.start_timeout)."
        )
        if place not in self.trouble:
            log.warning("%s/%s: %s", *place, told)
        self.trouble[place] = told
