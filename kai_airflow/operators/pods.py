"""One pod, over the asyncio client of Kubernetes: made, followed, read out, deleted."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
from kubernetes_asyncio import watch
from kubernetes_asyncio.client import ApiException, CoreV1Api

from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube import CONTAINER, PodName, PodReference
from kai_airflow.operators.output import read_output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

# How long the Kubernetes API may be out of reach before a try gives up, and how often it is asked again.
PATIENCE_SECONDS = 60.0
_RETRY_SECONDS = 1.0

# A watch is renewed after this time, so that a connection that went silent is noticed.
_WATCH_SECONDS = 60
_REQUEST_SECONDS = 10.0

# A kubelet that says so won't come to another conclusion. What it tries again (ImagePullBackOff: a registry that is
# slow or limits its rate) has until start_timeout.
_HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull"})

# How long after its time a pod that is being deleted counts as gone: its node may never say so.
_LOST_SECONDS = 30

_NOT_FOUND, _CONFLICT, _TOO_MANY, _SERVER_ERROR = 404, 409, 429, 500


class KubeError(KaiAirflowError):
    """Kubernetes refuses, is out of reach, or lost the pod."""


class PodGoneError(KubeError):
    """The pod was deleted, or its node is gone."""

    def __init__(self, pod: PodName) -> None:
        super().__init__(
            f"pod {pod} was deleted while its process worked: by a person, an eviction, or a node "
            "that went away. Remedy: retry or clear the task."
        )


@dataclass(frozen=True)
class PodState:
    """What a pod's status says of the process in it."""

    phase: str
    waiting: str = ""
    hopeless: bool = False
    running: bool = False
    exit_code: int | None = None
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether the process will do nothing more."""
        return self.exit_code is not None or self.phase in ("Succeeded", "Failed")

    @property
    def has_output(self) -> bool:
        """Whether the container came as far as to have a log."""
        return self.running or self.exit_code is not None


class Pods:
    """The few requests that one try makes; what passes is tried again for a minute."""

    def __init__(self, api: CoreV1Api) -> None:
        # Its annotations ask for models where it takes the API's own JSON as well, and know nothing of raw responses.
        self._api: Any = api

    async def create(self, manifest: Mapping[str, Any]) -> PodReference:
        """Make the pod; one that is there already under this name (a try's own) is taken as made."""
        name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]

        async def create() -> Any:
            try:
                return await self._api.create_namespaced_pod(namespace, manifest, _request_timeout=_REQUEST_SECONDS)
            except ApiException as error:
                if not _exists(error):
                    raise
                return await self._api.read_namespaced_pod(name, namespace, _request_timeout=_REQUEST_SECONDS)

        pod = await _patiently(create, f"create pod {namespace}/{name}")
        return PodReference(name, namespace, pod.metadata.uid)

    async def create_secret(self, manifest: Mapping[str, Any]) -> None:
        """Make the Secret; one that is there already under this name (a try's own) is taken as made."""
        name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]

        async def create() -> None:
            try:
                await self._api.create_namespaced_secret(namespace, manifest, _request_timeout=_REQUEST_SECONDS)
            except ApiException as error:
                if not _exists(error):
                    raise

        await _patiently(create, f"create Secret {namespace}/{name}")

    async def find(self, pod: PodName) -> PodState | None:
        """The pod's state, None where there is no such pod or it is being deleted.

        :raises KubeError: the API refuses or stayed out of reach
        """
        try:
            return _state_of(pod, await self._patient_read(pod), leaving_is_gone=True)
        except PodGoneError:
            return None

    async def labelled(self, namespace: str, selector: str) -> list[PodState]:
        """The states of the pods with these labels, as they are now.

        :raises KubeError: the API refuses, or is out of reach
        """
        try:
            found = await self._api.list_namespaced_pod(
                namespace, label_selector=selector, _request_timeout=_REQUEST_SECONDS
            )
        except (ApiException, aiohttp.ClientError, TimeoutError) as error:
            raise KubeError(f"Kubernetes: cannot list pods of {namespace}: {_said(error)}") from error
        return [state_of(pod.status) for pod in found.items]

    async def delete(self, pod: PodName) -> None:
        """Ask for the pod's end, without waiting for it."""

        async def delete() -> None:
            try:
                await self._api.delete_namespaced_pod(pod.name, pod.namespace, _request_timeout=_REQUEST_SECONDS)
            except ApiException as error:
                if error.status != _NOT_FOUND:
                    raise

        await _patiently(delete, f"delete pod {pod}")

    async def states(self, pod: PodName) -> AsyncIterator[PodState]:
        """The pod's states as they change, until its process has ended.

        :raises KubeError: the pod was deleted, or the API stayed out of reach
        """
        while True:
            found = await self._patient_read(pod)
            async for state in self._watched(pod, found):
                yield state
                if state.ended:
                    return

    async def _patient_read(self, pod: PodName) -> Any:
        return await _patiently(lambda: self._read(pod), f"read pod {pod}")

    async def _read(self, pod: PodName) -> Any:
        try:
            return await self._api.read_namespaced_pod(pod.name, pod.namespace, _request_timeout=_REQUEST_SECONDS)
        except ApiException as error:
            if error.status == _NOT_FOUND:
                raise PodGoneError(pod) from error
            raise

    async def _watched(self, pod: PodName, found: Any) -> AsyncIterator[PodState]:
        yield _state_of(pod, found)
        async with watch.Watch() as watcher:
            stream = watcher.stream(
                self._api.list_namespaced_pod,
                pod.namespace,
                field_selector=f"metadata.name={pod.name}",
                resource_version=found.metadata.resource_version,
                timeout_seconds=_WATCH_SECONDS,
                _request_timeout=_WATCH_SECONDS + _REQUEST_SECONDS,
            )
            try:
                async for event in stream:
                    if event["type"] == "DELETED":
                        raise PodGoneError(pod)
                    yield _state_of(pod, event["object"])
            except (ApiException, aiohttp.ClientError, TimeoutError):
                # Too old a version, a restarted API server, a broken connection: the pod is read anew.
                await asyncio.sleep(_RETRY_SECONDS)

    def output(self, pod: PodName, ended: Callable[[], bool]) -> AsyncIterator[str]:
        """The lines that the container prints, each once, until ``ended()`` and all of them are read."""
        return read_output(self._api, pod, ended)


def _state_of(name: PodName, pod: Any, *, leaving_is_gone: bool = False) -> PodState:
    state = state_of(pod.status)
    leaving = pod.metadata.deletion_timestamp
    over = leaving and datetime.now(UTC) - leaving > timedelta(seconds=_LOST_SECONDS)
    if leaving and (over or state.ended or leaving_is_gone):
        raise PodGoneError(name)
    return state


def state_of(status: Any) -> PodState:
    """Read a V1PodStatus."""
    own = next((c for c in status.container_statuses or () if c.name == CONTAINER), None)
    state = own.state if own else None
    waiting = state.waiting if state else None
    ended = state.terminated if state else None
    return PodState(
        phase=status.phase or "Pending",
        waiting=_because(waiting.reason, waiting.message) if waiting else _unscheduled(status),
        hopeless=bool(waiting and waiting.reason in _HOPELESS),
        running=bool(state and state.running),
        exit_code=ended.exit_code if ended else None,
        reason=_because(ended.reason, ended.message) if ended else _because(status.reason, status.message),
    )


def _unscheduled(status: Any) -> str:
    refused = (c for c in status.conditions or () if c.type == "PodScheduled" and c.status == "False")
    return next((_because(c.reason, c.message) for c in refused), "")


def _because(reason: str | None, message: str | None) -> str:
    return ": ".join(part for part in (reason, message) if part)


async def _patiently(call: Callable[[], Awaitable[Any]], doing: str) -> Any:
    """Call until it works, as long as what is wrong may pass by itself."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await call()
        except (ApiException, aiohttp.ClientError, TimeoutError) as error:
            if not _passing(error) or time.monotonic() > deadline:
                raise KubeError(f"Kubernetes: cannot {doing}: {_said(error)}") from error
        await asyncio.sleep(_RETRY_SECONDS)


def _exists(error: ApiException) -> bool:
    """Whether what was to be made is there; a quota in motion is a conflict too, one that passes."""
    return error.status == _CONFLICT and "AlreadyExists" in str(error.body)


def _passing(error: Exception) -> bool:
    if not isinstance(error, ApiException):
        return True
    return error.status in (_CONFLICT, _TOO_MANY) or (error.status or _SERVER_ERROR) >= _SERVER_ERROR


def _said(error: Exception) -> str:
    if isinstance(error, ApiException):
        return f"{error.status} {error.reason}: {error.body!s}"
    return f"{type(error).__name__}: {error}"
