"""The Ingresses' reverse proxy: one port of 127.0.0.1, plain HTTP/1.1 and WebSockets, bodies streamed both ways.

Where several pods of a Service are ready they take turns. As ingress-nginx does it: a backend that doesn't take the
connection leaves the request to the next one, and 60 s of silence are a 504. There is no limit for bodies.
"""

import asyncio
import contextlib
import itertools
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from kai_airflow.local.kubernetes import rollout, routes
from kai_airflow.local.kubernetes.networking import Service
from kai_airflow.local.kubernetes.node import Node
from kai_airflow.local.kubernetes.resources import INGRESSES, PODS, SERVICES
from kai_airflow.local.kubernetes.routes import Rule, Target
from kai_airflow.local.kubernetes.status import ADDRESS
from kai_airflow.local.kubernetes.store import Key, Store

LOGGER = logging.getLogger(__name__)
"""Hears of what breaks here, and not of requests that are no HTTP: whoever reaches the port can send these."""

LOGGER.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))

CONNECT, SILENCE = 5.0, 60.0
"""Seconds to reach a backend, and seconds between two pieces of what it says."""

MAX_FIELD = 32 << 10
"""Bytes of a header of a backend's answer; those of requests are limited to 8190."""

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_OURS = frozenset({"expect", "forwarded", "x-real-ip"})
_WEBSOCKET = frozenset({"sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"})


class _RefusedError(Exception):
    """A request that no backend answers: the status and a text that says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Proxy:
    """Passes requests on to the pods of Services. To be entered before the first request."""

    def __init__(self, store: Store, node: Node) -> None:
        self._store, self._node = store, node
        self._known: tuple[list[str], Sequence[Rule]] = [], []
        self._turns: defaultdict[tuple[str, str], Iterator[int]] = defaultdict(itertools.count)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """The connections to backends."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE)
        # No cookies, no proxies, no pooled connection that a backend may have closed: each request stands for itself.
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=timeout,
            auto_decompress=False,
            max_field_size=MAX_FIELD,
        ) as self._session:
            yield

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The backend's answer, or why there is none, as text."""
        try:
            target, ports = self._target(request)
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._socket(request, target, ports)
            return await self._pass(request, target, ports)
        except _RefusedError as error:
            return web.Response(status=error.status, text=f"{error.status}: {error.text}\n")

    def _target(self, request: web.BaseRequest) -> tuple[Target, list[int]]:
        """What a request is for, and the ports of the pods that answer, the next one first."""
        path = routes.clean(request.raw_path.partition("?")[0])
        if path is None:
            raise _RefusedError(400, "the path of the request is malformed")
        host = request.host.rsplit(":", 1)[0].lower()
        target = routes.find(self._rules(), host, path)
        if target is None:
            raise _RefusedError(404, f"no Ingress has a rule for the path {path!r} of the host {host!r}")
        return target, self._ports(target)

    def _rules(self) -> Sequence[Rule]:
        """The rules of all Ingresses, read anew where one of them has changed."""
        found = self._store.select(INGRESSES.plural)
        versions = [obj["metadata"]["resourceVersion"] for obj in found]
        if self._known[0] != versions:
            self._known = versions, routes.rules(found)
        return self._known[1]

    def _ports(self, target: Target) -> list[int]:
        name = f"{target.namespace}/{target.service}"
        found = self._store.get(Key(SERVICES.plural, target.namespace, target.service))
        if found is None:
            raise _RefusedError(503, f"the Ingress names Service {name}, which doesn't exist")
        service = Service.model_validate(found)
        for protocol in {target.protocol, service.protocol} - {"HTTP"}:
            what = f"the local Ingress speaks HTTP/1.1, and Service {name} speaks {protocol}"
            raise _RefusedError(501, f"{what}. Remedy: call its pod's port itself, or use a cluster.")
        spec = service.spec
        port = spec.port(target.port)
        if port is None:
            wanted = target.port.number or target.port.name
            raise _RefusedError(503, f"Service {name} has no port {wanted}, which the Ingress names")
        pods = [pod for pod in self._store.select(PODS.plural, target.namespace) if _serves(pod, spec.selector)]
        ports = [known for pod in pods if (known := self._node.port(pod, port.target)) is not None]
        if not ports:
            raise _RefusedError(503, f"no pod of Service {name} is ready")
        turn = next(self._turns[target.namespace, target.service]) % len(ports)
        return ports[turn:] + ports[:turn]

    async def _pass(self, request: web.BaseRequest, target: Target, ports: list[int]) -> web.StreamResponse:
        async with await self._asked(request, target, ports) as answer:
            headers = _end_to_end(answer.headers)
            response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
            await response.prepare(request)
            try:
                async for block in answer.content.iter_any():
                    await response.write(block)
            except (aiohttp.ClientError, TimeoutError):
                _break_off(request)  # what has begun can't become an error; nor may it look whole
            else:
                await response.write_eof()
            return response

    async def _asked(self, request: web.BaseRequest, target: Target, ports: list[int]) -> aiohttp.ClientResponse:
        """The answer of the first backend that takes the connection."""
        body = request.content if request.body_exists else None
        headers = _end_to_end(request.headers)
        headers.update(_forwarded(request))
        for port in ports:
            try:
                return await self._session.request(
                    request.method,
                    _url("http", port, target, request),
                    data=body,
                    headers=headers,
                    skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
                    allow_redirects=False,
                )
            except aiohttp.ClientConnectorError:
                continue
            except TimeoutError as error:
                raise _RefusedError(504, f"Service {target.service} said nothing for {SILENCE:g} s") from error
            except (aiohttp.ClientError, ValueError) as error:
                raise _RefusedError(502, f"Service {target.service} broke off: {error}") from error
        raise _RefusedError(502, f"no pod of Service {target.service} takes connections")

    async def _socket(self, request: web.BaseRequest, target: Target, ports: list[int]) -> web.StreamResponse:
        """A WebSocket from end to end: the backend's is opened first, so that its refusal is the answer."""
        passed = _end_to_end(request.headers).items()
        headers = {name: value for name, value in passed if name.lower() not in _WEBSOCKET}
        offered = [name.strip() for name in headers.pop("Sec-WebSocket-Protocol", "").split(",") if name.strip()]
        try:
            backend = await self._session.ws_connect(
                _url("ws", ports[0], target, request),
                headers={**headers, **_forwarded(request)},
                protocols=offered,
                max_msg_size=0,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise _RefusedError(error.status, f"Service {target.service} refused the WebSocket") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _RefusedError(502, f"no WebSocket to Service {target.service}: {error}") from error
        async with backend:
            client = web.WebSocketResponse(protocols=[backend.protocol] if backend.protocol else (), max_msg_size=0)
            await client.prepare(request)
            await _first(_copy(client, backend), _copy(backend, client))
            await client.close(code=backend.close_code or aiohttp.WSCloseCode.OK)
        return client


def _serves(pod: dict[str, Any], selector: dict[str, str]) -> bool:
    """Whether a pod takes requests for a Service; one without a selector has no pods."""
    return bool(selector) and selector.items() <= pod["metadata"].get("labels", {}).items() and rollout.is_ready(pod)


def _url(scheme: str, port: int, target: Target, request: web.BaseRequest) -> URL:
    query = request.raw_path.partition("?")[2]
    return URL(f"{scheme}://{ADDRESS}:{port}{target.path}{'?' + query if query else ''}", encoded=True)


def _end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers that are for the other end, not for the next hop."""
    named = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    left_out = _HOP_BY_HOP | _OURS | named
    kept = [(name, value) for name, value in headers.items() if name.lower() not in left_out]
    return CIMultiDict((name, value) for name, value in kept if not name.lower().startswith("x-forwarded-"))


def _forwarded(request: web.BaseRequest) -> dict[str, str]:
    """Who asks, and whom: what a client says of that itself isn't believed."""
    client = request.remote or ""
    door = request.transport.get_extra_info("sockname") if request.transport else None
    return {
        "X-Real-IP": client,
        "X-Forwarded-For": client,
        "X-Forwarded-Host": request.host,
        "X-Forwarded-Port": str(door[1] if door else ""),
        "X-Forwarded-Proto": "http",
    }


def _break_off(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _copy(source: Socket, target: Socket) -> None:
    """Pass messages on until the source ends."""
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)


async def _first(*works: Coroutine[Any, Any, None]) -> None:
    """Until one of them is done; the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
