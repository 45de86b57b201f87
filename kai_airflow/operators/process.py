"""The task of a process: its image in pods, fed with what upstream published in this run, and drained."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowRuntimeError,
    AirflowSkipException,
    TaskDeferralError,
    TaskDeferralTimeout,
    TaskDeferred,
)
from kubernetes.client import ApiClient

from kai_airflow import kube
from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import MessagingError
from kai_airflow.messaging.streams import ensure_buckets, ensure_object_store, refused_keys, seed_configuration
from kai_airflow.messaging.tries import sources
from kai_airflow.operators import interruptible
from kai_airflow.operators.attempt import Attempt, Task, end_pods, record
from kai_airflow.operators.connections import (
    kubernetes_configured,
    kubernetes_hook,
    kubernetes_pods,
    nats_address,
    services,
)
from kai_airflow.operators.deferred import WaitForPods
from kai_airflow.operators.interruptible import TerminatedError
from kai_airflow.operators.links import MessagesLink
from kai_airflow.operators.memory import Memory
from kai_airflow.operators.secrets import mask_secrets
from kai_airflow.operators.xcoms import pull_manifests, push_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from kai_airflow.messaging.address import NatsAddress
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.outputs import Complaint
    from kai_airflow.messaging.tries import Source, Try
    from kai_airflow.operators.attempt import Verdict
    from kai_airflow.operators.connections import Services
    from kai_airflow.plan import Process, Workflow

# How many ERROR messages a failed task quotes.
_QUOTED_COMPLAINTS = 20

# Nobody hears this task any more: its worker died, and the next try goes on with its pods.
_UNHEARD = (EOFError, BrokenPipeError, ConnectionResetError)

# States of a task that is told to end because its worker ends: its next try goes on with its pods.
_GOES_ON = frozenset({"running", "up_for_retry"})


class UpstreamChangedError(KaiAirflowError):
    """What a deferred task was to work on isn't what upstream has left any more."""

    def __init__(self, process: str) -> None:
        super().__init__(
            f"upstream of {process!r} was cleared while it worked. Remedy: none needed where the task has retries; "
            "clear it otherwise."
        )


class ProcessOperator(KubernetesPodOperator):
    """Launches a process's image, feeds it, drains it, and ends it.

    The pods come from the plan; the stock operator builds and authenticates, but doesn't wait: a KAI process runs
    until it is told to stop, so NATS tells when the task is done. The stock reattachment is off, because it would pair
    an old pod with new subjects.

    :param deferrable: wait in the triggerer instead of in a worker; by default as ``[operators] default_deferrable``
    """

    # What a KRT or a message says is data: nothing here is ever rendered as a template.
    template_fields = ()
    operator_extra_links = (MessagesLink(),)

    def __init__(self, *, workflow: Workflow, process: Process, **kwargs: Any) -> None:
        super().__init__(
            base_container_name=kube.CONTAINER,
            namespace=workflow.namespace,
            random_name_suffix=False,
            durable=False,
            do_xcom_push=False,
            **kwargs,
        )
        self.workflow = workflow
        self.process = process

    def execute(self, context: Context) -> None:
        """Run one try, and leave its manifest; skip where nothing was published for this process.

        :raises AirflowException: the process answered with ERROR messages; the manifest is left all the same
        :raises KaiAirflowError: the try broke: the process ended or didn't start, NATS or Kubernetes failed
        """
        wanted = self._sources(context)
        if not wanted:
            raise AirflowSkipException("nothing was published for this process in this run")
        self._run(context, wanted, {}, defer=self.deferrable)

    def resume(self, context: Context, event: dict[str, Any]) -> None:
        """Go on after the triggerer has seen the end: the same, with pods that are there."""
        wanted = self._sources(context)
        if _digest(wanted) != event["fed"]:
            self._abandon(*self._task(context))
            raise UpstreamChangedError(self.process.name)
        self._run(context, wanted, event["said"], defer=False)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Airflow's way into :meth:`resume`, and into a failure where the deferred half has none to tell of."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralTimeout, TaskDeferralError):
            self._abandon(*self._task(context))
            raise

    def _sources(self, context: Context) -> list[Source]:
        """What upstream published for this process, in the order of publication."""
        found: list[Source] = []
        for upstream, manifest in pull_manifests(context, self.process.upstream).items():
            found += sources(manifest, [feed.channel for feed in self.process.feeds if feed.process == upstream])
        return sorted(found)

    def _run(self, context: Context, wanted: Sequence[Source], said: Mapping[str, int], *, defer: bool) -> None:
        task, memory, address = self._task(context)
        try:
            verdict = interruptible.run(self._attempt(context, task, memory, address, wanted, said, defer=defer))
        except (TerminatedError, AirflowRuntimeError):
            if not self._goes_on(context):
                self._abandon(task, memory, address)
            raise
        except (TaskDeferred, *_UNHEARD):
            raise
        except BaseException:
            self._abandon(task, memory, address)
            raise
        _raise_what_went_wrong(self.process, verdict)

    def _task(self, context: Context) -> tuple[Task, Memory, NatsAddress]:
        address, sections = nats_address(), services()
        mask_secrets(self.workflow, self.process, address, sections)
        pod = cache(partial(self._pod_manifest, context))
        ti_id = str(context["ti"].id)
        task = Task(
            workflow=self.workflow,
            process=self.process,
            id=ti_id,
            clears=context["dag_run"].clear_number or 0,
            namespace=pod(ti_id)["metadata"]["namespace"],
            pod=pod,
            config=partial(self._app_config, address.pods_url, sections),
            log=self.log,
            note=self.log.info,
        )
        return task, Memory(context), address

    def _pod_manifest(self, context: Context, try_id: str) -> dict[str, Any]:
        """The plan's pod, with what the stock operator and the connection add: labels, namespace, mutation hook."""
        ti = context["ti"]
        self.pod_template_dict = kube.pod(self.workflow, self.process, try_id)
        self.annotations = kube.task_annotations(kube.TaskName(_own_url(), ti.dag_id, ti.run_id, ti.task_id))
        with kubernetes_configured():
            request = self.build_pod_request_obj(context)
        manifest: dict[str, Any] = ApiClient().sanitize_for_serialization(request)
        return manifest

    def _app_config(self, nats_url: str, sections: Services, of: Try) -> dict[str, Any]:
        wiring = kube.Wiring(url=nats_url, stream=of.stream, output=of.output, inputs=(of.input,))
        return kube.app_config(self.workflow, self.process, wiring, sections.sections)

    async def _attempt(
        self,
        context: Context,
        task: Task,
        memory: Memory,
        address: NatsAddress,
        wanted: Sequence[Source],
        said: Mapping[str, int],
        *,
        defer: bool,
    ) -> Verdict:
        name = f"kai-airflow {self.dag_id} {self.task_id}"
        with kubernetes_configured():
            hook = kubernetes_hook(self.kubernetes_conn_id)
        async with connect(address, name=name) as connection, kubernetes_pods(hook) as pods:
            await self._prepare(connection)
            attempt = Attempt(task, connection, pods, memory, said)
            await attempt.begin(wanted)
            if defer:
                self._defer(attempt, wanted)
            async with attempt.followed() as parts:
                verdict = await attempt.verdict(parts)
                # In this order, so that whatever dies in between, the pods are there for the next try, or not needed.
                push_manifest(context, verdict.manifest)
                if verdict.is_good:
                    memory.forget()
                else:
                    memory.keep(verdict.tries)
                await attempt.close()
            return verdict

    def _defer(self, attempt: Attempt, wanted: Sequence[Source]) -> None:
        """Leave the worker until the triggerer sees the end. Raises what Airflow takes for that."""
        self.defer(
            trigger=WaitForPods(attempt.waits(), self.kubernetes_conn_id, fed=_digest(wanted)),
            method_name=self.resume.__name__,
            timeout=self.execution_timeout,
        )

    async def _prepare(self, connection: Connection) -> None:
        """What an SDK process needs in NATS before it starts."""
        buckets = self.process.buckets
        await ensure_buckets(connection.js, (buckets.shared, buckets.version, buckets.workflow, buckets.process))
        # The process's own bucket is written by the process, at each start (KAI reference, section 4).
        refused = [
            *await seed_configuration(connection.js, buckets.version, self.workflow.version_config),
            *await seed_configuration(connection.js, buckets.workflow, self.workflow.config),
            *refused_keys(self.process.config),
        ]
        for key in refused:
            self.log.warning("config key %r can't be in a bucket: NATS allows letters, digits and . - / _ = only", key)
        if self.process.object_store:
            await ensure_object_store(connection.js, self.process.object_store)

    def _goes_on(self, context: Context) -> bool:
        """Whether there is a next try, or is one already, that goes on with the pods of this one.

        Told to end, or refused by Airflow: a person ended the task, or its worker ends, or was taken for dead.
        """
        ti = context["ti"]
        if ti.try_number > ti.max_tries:
            return False
        try:
            states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id])
        except AirflowRuntimeError:
            return True  # nobody can tell; if there is none, the sweep ends the pods
        return states.get(ti.run_id, {}).get(ti.task_id) in _GOES_ON

    def _abandon(self, task: Task, memory: Memory, address: NatsAddress) -> None:
        """End the pods; what they did until now is known to the next try."""
        try:
            asyncio.run(self._abandoned(task, memory, address))
        except (KaiAirflowError, AirflowRuntimeError) as error:  # the latter where the run has been deleted
            self.log.warning("%s", error)

    async def _abandoned(self, task: Task, memory: Memory, address: NatsAddress) -> None:
        async with kubernetes_pods(kubernetes_hook(self.kubernetes_conn_id)) as pods:
            await end_pods(task, pods, memory)
        with suppress(MessagingError):  # then the next try asks
            async with connect(address, name=f"kai-airflow {self.dag_id} {self.task_id}") as connection:
                await record(task, connection, memory)


def _digest(wanted: Sequence[Source]) -> str:
    listed = "\n".join(f"{source.sequence} {source.subject}" for source in wanted)
    return hashlib.sha256(listed.encode()).hexdigest()


def _own_url() -> str:
    """What this Airflow is called from outside: nothing else tells two Airflows apart."""
    return str(conf.get("api", "base_url", fallback="") or "http://localhost:8080").rstrip("/")


def _raise_what_went_wrong(process: Process, verdict: Verdict) -> None:
    for error in verdict.errors:
        raise error if len(verdict.errors) == 1 else _several(verdict.errors) from error
    if verdict.complaints:
        raise AirflowException(complained(process, verdict.complaints))


def complained(process: Process, complaints: Sequence[Complaint]) -> str:
    """What a process's ERROR messages say, not more than a log can take."""
    quoted = [f"request {c.request_id}: {c.text}" for c in complaints[:_QUOTED_COMPLAINTS]]
    more = [f"and {len(complaints) - _QUOTED_COMPLAINTS} more"] if len(complaints) > _QUOTED_COMPLAINTS else []
    return "\n  ".join([f"{process.name} answered with {len(complaints)} ERROR message(s):", *quoted, *more])


def _several(errors: Sequence[KaiAirflowError]) -> KaiAirflowError:
    listed = "\n".join(str(error) for error in errors)
    return KaiAirflowError(f"{len(errors)} of its pods broke:\n{listed}")
