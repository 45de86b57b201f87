"""The task of a process: its image in a pod, fed with what upstream published in this run, and drained."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook, KubernetesHook
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from kubernetes.client import ApiClient, V1ObjectMeta, V1Pod
from kubernetes_asyncio.client import CoreV1Api

from kai_airflow import kube
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.drain import draining
from kai_airflow.messaging.feed import feed, opened_input
from kai_airflow.messaging.streams import ensure_buckets, ensure_object_store, refused_keys, seed_configuration
from kai_airflow.messaging.tries import Try, sources
from kai_airflow.operators import interruptible
from kai_airflow.operators.connections import kubernetes_configured, nats_address, services
from kai_airflow.operators.pods import KubeError, Pods
from kai_airflow.operators.secrets import mask_secrets
from kai_airflow.operators.supervisor import Supervisor
from kai_airflow.operators.xcoms import pull_manifests, push_manifest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow.sdk import Context

    from kai_airflow.messaging.connection import Connection, NatsAddress
    from kai_airflow.messaging.drain import Drain
    from kai_airflow.messaging.tries import Source
    from kai_airflow.operators.connections import Services
    from kai_airflow.plan import Process, Workflow

# How long a process may take to subscribe, in seconds: an image of some GB, on a node that has to be started first.
START_TIMEOUT = 600.0

# The stock operator's labels of one task of one run.
_TASK_LABELS = ("dag_id", "task_id", "run_id")

# How many ERROR messages a failed task quotes.
_QUOTED_COMPLAINTS = 20


class ProcessOperator(KubernetesPodOperator):
    """Launches a process's image, feeds it, drains it, and ends it.

    The pod comes from the plan; the stock operator builds it and authenticates, but doesn't wait: a KAI process runs
    until it is told to stop, so NATS tells when the task is done. The stock reattachment is off, because it would pair
    an old pod with new subjects.
    """

    # What a KRT or a message says is data: nothing here is ever rendered as a template.
    template_fields = ()

    def __init__(self, *, workflow: Workflow, process: Process, **kwargs: Any) -> None:
        super().__init__(
            base_container_name=kube.CONTAINER,
            random_name_suffix=False,
            durable=False,
            do_xcom_push=False,
            deferrable=False,
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
        of = Try(self.workflow.run_stream, str(context["ti"].id), self.process.name)
        address, sections = nats_address(), services()
        mask_secrets(self.workflow, self.process, address, sections)
        drain = interruptible.run(self._run(of, wanted, self._pod_manifest(context, of), address, sections))
        push_manifest(context, drain.manifest())
        self._fail_on_complaints(drain)

    def _sources(self, context: Context) -> list[Source]:
        """What upstream published for this process, in the order of publication."""
        found: list[Source] = []
        for upstream, manifest in pull_manifests(context, self.process.upstream).items():
            found += sources(manifest, [feed.channel for feed in self.process.feeds if feed.process == upstream])
        return sorted(found)

    def _pod_manifest(self, context: Context, of: Try) -> dict[str, Any]:
        """The plan's pod, with what the stock operator and the connection add: labels, namespace, mutation hook."""
        self.pod_template_dict = kube.pod(self.workflow, self.process, of.id)
        with kubernetes_configured():
            request = self.build_pod_request_obj(context)
        manifest: dict[str, Any] = ApiClient().sanitize_for_serialization(request)
        return manifest

    async def _run(
        self, of: Try, wanted: Sequence[Source], pod: dict[str, Any], address: NatsAddress, services: Services
    ) -> Drain:
        name = f"kai-airflow {self.dag_id} {self.task_id}"
        config = kube.app_config(self.workflow, self.process, _wiring(address, of), services.sections)
        async with connect(address, name=name) as connection, self._pods() as pods:
            await self._end_others(pods, pod)
            await self._prepare(connection)
            async with opened_input(connection, of):
                fed = await feed(connection, of, wanted)
                self.log.info("fed %d message(s)", fed.count)
                async with draining(connection, of, fed) as drain:
                    await self._supervise(drain, pods, pod, config)
                return drain

    async def _supervise(self, drain: Drain, pods: Pods, pod: dict[str, Any], config: dict[str, Any]) -> None:
        supervisor = Supervisor(
            drain,
            pods,
            kube.PodName(pod["metadata"]["name"], pod["metadata"]["namespace"]),
            start_timeout=self.process.start_timeout or START_TIMEOUT,
            say=self.log.info,
            note=self.log.info,
        )
        async with supervisor.reading(), self._launched(pods, supervisor.pod, pod, drain.of, config):
            await supervisor.until_done()

    @asynccontextmanager
    async def _pods(self) -> AsyncIterator[Pods]:
        with kubernetes_configured():
            stock = KubernetesHook(self.kubernetes_conn_id)
            # The stock hook falls back to the cluster that it runs in where the connection says nothing, the
            # asyncio hook doesn't.
            hook = AsyncKubernetesHook(
                conn_id=self.kubernetes_conn_id,
                in_cluster=stock.is_in_cluster or None,
                connection_extras=stock.conn_extras,
            )
            async with hook.get_conn() as client:
                yield Pods(CoreV1Api(client))

    async def _end_others(self, pods: Pods, pod: dict[str, Any]) -> None:
        """The pod of a try whose worker died runs until somebody ends it."""
        for other in await pods.delete_others(pod, _TASK_LABELS):
            self.log.warning("ended pod %s of an earlier try", other)

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

    @asynccontextmanager
    async def _launched(
        self, pods: Pods, name: kube.PodName, manifest: dict[str, Any], of: Try, config: dict[str, Any]
    ) -> AsyncIterator[None]:
        """The pod, while the block lasts. It waits for its Secret and owns it, so that whatever dies, nothing stays."""
        # What the stock on_kill deletes; known before it exists, so that a kill at any moment finds it.
        self.pod = V1Pod(metadata=V1ObjectMeta(name=name.name, namespace=name.namespace))
        self.log.info("pod %s", name)
        try:
            reference = await pods.create(manifest)
            await pods.create_secret(kube.secret(of.process, of.id, reference, config))
            yield
        finally:
            await self._delete(pods, name)

    async def _delete(self, pods: Pods, name: kube.PodName) -> None:
        """The verdict stands: a pod that can't be deleted now doesn't change it."""
        try:
            await pods.delete(name)
        except KubeError as error:
            self.log.warning("%s. Remedy: delete it by hand.", error)

    def _fail_on_complaints(self, drain: Drain) -> None:
        complaints = drain.complaints
        if not complaints:
            return
        quoted = [f"request {c.request_id}: {c.text}" for c in complaints[:_QUOTED_COMPLAINTS]]
        more = [f"and {len(complaints) - _QUOTED_COMPLAINTS} more"] if len(complaints) > _QUOTED_COMPLAINTS else []
        raise AirflowException(
            "\n  ".join([f"{self.process.name} answered with {len(complaints)} ERROR message(s):", *quoted, *more])
        )


def _wiring(address: NatsAddress, of: Try) -> kube.Wiring:
    return kube.Wiring(url=address.url, stream=of.stream, output=of.output, inputs=(of.input,))
