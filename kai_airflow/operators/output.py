"""What a pod's container prints, read from the Kubernetes API however often its connection breaks."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import aiohttp
from kubernetes_asyncio.client import ApiException

from kai_airflow.kube import CONTAINER
from kai_airflow.operators.lines import Lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kubernetes_asyncio.client import CoreV1Api

    from kai_airflow.kube import PodName

log = logging.getLogger(__name__)

# A followed log that is silent for so long is opened again, in case its connection is dead.
SILENT_SECONDS = 60.0
RETRY_SECONDS = 1.0
_LOOK_SECONDS = 0.02
_CONNECT_SECONDS = 10.0

_FIRST_ERROR, _NOT_FOUND = 400, 404
_FORBIDDEN = frozenset({401, 403})
_LONGEST_REFUSAL = 10_000
_TURN_BYTES = 1 << 16


async def read_output(api: CoreV1Api, pod: PodName, ended: Callable[[], bool]) -> AsyncIterator[str]:
    """The lines that the container prints, each once, until ``ended()`` and all of them are read.

    The log is opened again whenever it breaks off, and after the end until it brings nothing new: an API server that
    loses the node in the middle of a log may end its answer as if it were whole.
    """
    lines, told = Lines(), _Told(pod)
    while True:
        last, news = ended(), False
        try:
            async for line in _follow(api, pod, lines):
                news = True
                yield line
        except (ApiException, aiohttp.ClientError, TimeoutError) as error:
            if last and _is_missing(error, pod):
                break
            told.trouble(error)
            await asyncio.sleep(RETRY_SECONDS)
            continue
        told.gaps(lines.gaps)
        if last and not news and not lines.lost:
            break
        if not lines.lost:
            await _pause(ended)
    for line in lines.ended():
        yield line


async def _pause(ended: Callable[[], bool]) -> None:
    """A log ends a moment before its pod is known to have ended: no reason to wait longer than for that."""
    for _ in range(round(RETRY_SECONDS / _LOOK_SECONDS)):
        if ended():
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _follow(api: Any, pod: PodName, lines: Lines) -> AsyncIterator[str]:
    since = lines.reopened(time.time())
    response = await api.read_namespaced_pod_log(
        pod.name,
        pod.namespace,
        container=CONTAINER,
        follow=True,
        timestamps=True,
        **({"since_seconds": since} if since else {}),
        _preload_content=False,
        _request_timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=SILENT_SECONDS),
    )
    try:
        if response.status >= _FIRST_ERROR:  # without preloading, the client leaves this to its caller
            raise await _refusal(response)
        async for chunk in response.content.iter_chunked(_TURN_BYTES):
            for line in lines.split(chunk):
                yield line
            if lines.lost:
                return
            await asyncio.sleep(0)  # a flood leaves the others their turn
    finally:
        response.close()


class _Told:
    """Says once what keeps the log from being whole."""

    def __init__(self, pod: PodName) -> None:
        self._pod = pod
        self._forbidden = False
        self._gaps = 0

    def trouble(self, error: Exception) -> None:
        """What passes by itself isn't worth a word."""
        if isinstance(error, ApiException) and error.status in _FORBIDDEN and not self._forbidden:
            self._forbidden = True
            log.warning(
                "the output of pod %s can't be read: %s %s. Remedy: allow Airflow's account to get pods/log.",
                self._pod,
                error.status,
                error.reason,
            )

    def gaps(self, count: int) -> None:
        """Told after the lines that follow it were given, since it is noticed in the middle of a stream."""
        if count > self._gaps:
            self._gaps = count
            log.warning("pod %s: lines may be missing, its node rotated the log while the API was away", self._pod)


async def _refusal(response: aiohttp.ClientResponse) -> ApiException:
    refusal = ApiException(response.status, response.reason)
    refusal.body = await response.content.read(_LONGEST_REFUSAL)
    return refusal


def _is_missing(error: Exception, pod: PodName) -> bool:
    """Whether there is no such pod any more; who stands before an API that restarts may answer 404 to anything."""
    if not isinstance(error, ApiException) or error.status != _NOT_FOUND:
        return False
    try:
        return bool(json.loads(error.body or "")["details"]["name"] == pod.name)
    except (ValueError, LookupError, TypeError):
        return False
