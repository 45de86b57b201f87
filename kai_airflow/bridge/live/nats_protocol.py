"""What long-lived processes need of NATS, as the side that keeps them in Kubernetes asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from kai_airflow.plan import Process, Workflow
    from kai_airflow.plan.names import Stream


class LiveNats(Protocol):
    """The NATS side of the keeper. Only the bridge that acts calls it; every call may come again."""

    async def prepare(self, workflow: Workflow, process: Process) -> None:
        """Make all that a process binds to. Awaited before its Deployment is applied, each time.

        :raises KaiAirflowError: it can't be; the Deployment isn't applied then, and it is tried again
        """

    async def gone(self, labels: Mapping[str, str], process: str) -> None:
        """A container of a process has ended, or its pod is gone, with whatever it had in hand.

        Called as soon as it is known, once for each end, also while an earlier call isn't done; and for an end that
        nobody saw since no bridge was there.

        :param labels: KAI's own of the process: product, version, workflow, process, type
        """

    async def idle(self, stream: Stream) -> bool:
        """Whether tasks and exits of a live stream have nothing to do: nothing pending, nothing unacked."""

    async def unheard(self, stream: Stream) -> Set[str]:
        """The consumers of tasks and exits of a live stream on which nobody listens. One question to NATS.

        :raises KaiAirflowError: nobody can tell
        """

    def steady(self) -> float:
        """Seconds for which the connection to NATS has been well; 0 while it isn't."""

    async def lost(self) -> None:
        """Return when the connection to NATS broke and was made anew: those of the processes may have broken, too."""

    async def strayed(self, labels: Mapping[str, str], process: str) -> None:
        """What was on its way to a process that lives may never have arrived: give back what nobody seems to work on.

        :param labels: KAI's own of the process
        """
