"""The task of a streaming workflow's process: it waits for what the live process does with the run's request."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube.objects import labels
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.drain import RESTLESS_SECONDS
from kai_airflow.messaging.errors import ExpiredError, MissedError, NatsUnavailableError, RestlessError
from kai_airflow.messaging.hop import arrived, following
from kai_airflow.operators import interruptible
from kai_airflow.operators.attempt import START_TIMEOUT
from kai_airflow.operators.connections import (
    KUBERNETES_CONN_ID,
    kubernetes_configured,
    kubernetes_hook,
    kubernetes_namespace,
    kubernetes_pods,
    nats_address,
    services,
)
from kai_airflow.operators.links import MessagesLink
from kai_airflow.operators.process import complained
from kai_airflow.operators.secrets import mask_secrets
from kai_airflow.operators.xcoms import pull_manifests, push_manifest
from kai_airflow.plan import upstreams

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from airflow.sdk import Context

    from kai_airflow.messaging.hop import Hop, Result
    from kai_airflow.operators.pods import PodState
    from kai_airflow.plan import Process, Workflow
    from kai_airflow.plan.names import Consumer

# How long a process may take for a request where execution_timeout says nothing.
ANSWER_SECONDS = 3600.0

# How often Kubernetes is asked why nobody listens.
_ASK_AGAIN_SECONDS = 10.0


class NotHandledError(KaiAirflowError):
    """A live process that didn't do anything with the request in time."""


class LiveProcessOperator(BaseOperator):
    """Reads from the live stream what a process did with the run's request, and leaves the manifest. No pod.

    It waits in its worker. A retry reads the same again; only a run that is cleared from its trigger on has its request
    handled once more.
    """

    # What a KRT or a message says is data: nothing here is ever rendered as a template.
    template_fields = ()
    operator_extra_links = (MessagesLink(),)
    ui_color = "#e6eff8"

    def __init__(self, *, workflow: Workflow, process: Process, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow = workflow
        self.process = process

    def execute(self, context: Context) -> None:
        """Wait until the process is done with it; skip where nothing was published for it.

        :raises AirflowFailException: it answered with ERROR messages, or never got the request
        :raises KaiAirflowError: nobody listened, or nothing came, in time; or NATS failed
        """
        found = pull_manifests(context, upstreams(self.workflow.processes)[self.process.name])
        sequences = arrived(self.process, found)
        if not sequences:
            raise AirflowSkipException("nothing was published for this process in this run")
        address = nats_address()
        mask_secrets(self.workflow, self.process, address, services())
        try:
            result = interruptible.run(self._result(sequences))
        except (ExpiredError, MissedError) as error:
            # The next try would find the same.
            raise AirflowFailException(str(error)) from error
        push_manifest(context, result.manifest)
        if result.manifest.latency is not None:
            self.log.info("answered after %.3f s", result.manifest.latency)
        if result.complaints:
            said = complained(self.process, result.complaints)
            raise AirflowFailException(f"{said}\nRemedy: clear this run from its trigger on to have it handled again.")

    async def _result(self, sequences: Sequence[int]) -> Result:
        name = f"kai-airflow {self.dag_id} {self.task_id}"
        async with (
            connect(nats_address(), name=name) as connection,
            following(connection, self.workflow, self.process, sequences) as hop,
        ):
            await _Wait(hop, self.process, self._why, self.log.info).until_done()
            return hop.result()

    async def _why(self) -> str:
        """Why nobody listens, as far as Kubernetes knows."""
        deployment = self.process.live.deployment if self.process.live else ""
        try:
            with kubernetes_configured():
                hook = kubernetes_hook(KUBERNETES_CONN_ID)
            namespace = self.workflow.namespace or kubernetes_namespace()
            selector = ",".join(f"{key}={value}" for key, value in labels(self.workflow, self.process).items())
            async with kubernetes_pods(hook) as pods:
                states = await pods.labelled(namespace, selector)
        except (KaiAirflowError, AirflowException) as error:
            return f"what its Deployment {deployment} does isn't known: {error}"
        return f"its Deployment {deployment} {_told(states)}"


@dataclass
class _Wait:
    """Waits for the end of a hop, within its times."""

    hop: Hop
    process: Process
    why: Callable[[], Awaitable[str]]
    note: Callable[..., None]
    _since: float | None = None
    _asked: float = 0.0
    _reason: str = ""
    _began: float = field(default_factory=time.monotonic)

    async def until_done(self) -> None:
        """Return when it is done.

        :raises NotHandledError: nobody listened, or nothing came, in time
        :raises RestlessError: it never stops publishing
        """
        while True:
            try:
                await self._until_handled()
                if await self._is_settled():
                    return
            except NatsUnavailableError as error:
                self._fail_if_late(str(error))
                self._tell(str(error))
                await self.hop.changed()

    async def _until_handled(self) -> None:
        while True:
            unattended = await self.hop.look()
            if self.hop.is_handled:
                return
            await self._mind(unattended)
            self._fail_if_late("it has the request and doesn't ack it")
            await self.hop.changed()

    async def _is_settled(self) -> bool:
        """Whether nothing more comes; in a circle, what has come may be to be handled as well."""
        deadline = time.monotonic() + RESTLESS_SECONDS
        while not await self.hop.settled():
            if not self.hop.is_handled:
                return False
            if time.monotonic() > deadline:
                raise RestlessError(self.process.name, RESTLESS_SECONDS)
        return True

    async def _mind(self, unattended: Sequence[Consumer]) -> None:
        """Nobody is there: say why, and give up when it has lasted too long."""
        now = time.monotonic()
        if not unattended:
            self._since, self._reason = None, ""
            return
        self._since = now if self._since is None else self._since
        if now - self._asked > _ASK_AGAIN_SECONDS:
            self._asked = now
            self._tell(f"nobody listens on consumer {', '.join(unattended)}: {await self.why()}")
        seconds = self.process.start_timeout or START_TIMEOUT
        if now - self._since > seconds:
            raise NotHandledError(f"given up after {seconds:g} s (start_timeout): {self._reason}")

    def _tell(self, reason: str) -> None:
        if reason != self._reason:
            self.note("waiting: %s", reason)
        self._reason = reason

    def _fail_if_late(self, otherwise: str) -> None:
        """Where execution_timeout is said, Airflow ends the task."""
        if self.process.execution_timeout is None and time.monotonic() - self._began > ANSWER_SECONDS:
            raise NotHandledError(
                f"{self.process.name!r} wasn't done with the request after {ANSWER_SECONDS:g} s: "
                f"{self._reason or otherwise}. Remedy: see its log, or set its x-airflow.execution_timeout."
            )


def _told(states: Sequence[PodState]) -> str:
    if not states:
        return "has no pod. Remedy: see that the DAG isn't paused and `kai-airflow bridge` runs"
    return "; ".join(f"has a pod that {_told_of(state)}" for state in states)


def _told_of(state: PodState) -> str:
    if state.exit_code is not None:
        return f"ended with exit code {state.exit_code}{f' ({state.reason})' if state.reason else ''}"
    if state.waiting:
        return f"waits: {state.waiting}"
    return "runs, and doesn't listen (yet)" if state.running else f"is {state.phase}"
