"""The HTTP side: URLs, bodies, the token, streams. Everything else is the Api's."""

import contextlib
import hmac
import json
import platform
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from kai_airflow.local.kubernetes import query, watch
from kai_airflow.local.kubernetes.api import Api
from kai_airflow.local.kubernetes.errors import ApiError, Object, bad_request, not_implemented
from kai_airflow.local.kubernetes.node import Node
from kai_airflow.local.kubernetes.patch import patcher
from kai_airflow.local.kubernetes.resources import PODS, RESOURCES, Resource

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY = 3 << 20
"""Bytes of a request's body, as a kube-apiserver's limit."""

MAX_DEPTH = 64
"""Levels of nesting in a body; the deepest part of a pod has about ten."""

WATCH_TIMEOUT = 1800
"""Seconds of a watch that doesn't say how long, at most."""

_HEALTH = ("/readyz", "/livez", "/healthz")
_VERSIONS = ("/version", "/version/")  # the clients ask for the second
_COLLECTION = "/api/v1/namespaces/{namespace}/{plural}"
_SUBRESOURCES = "status|exec|attach|portforward|proxy|eviction|binding|resize|ephemeralcontainers"
_VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2+kai-local",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": f"{platform.python_implementation()} {platform.python_version()}",
    "platform": f"{platform.system()}/{platform.machine()}".lower(),
}


def application(api: Api, node: Node, token: str) -> web.Application:
    """The server's application; every request but the health checks must carry the bearer token."""
    app = web.Application(middlewares=[_statuses, _authenticated(token)], client_max_size=MAX_BODY)
    handlers = Handlers(api, node)
    for path in _HEALTH:
        app.router.add_get(path, _healthy)
    for path in _VERSIONS:
        app.router.add_get(path, _version)
    app.router.add_get("/api/v1/{plural}", handlers.list)
    app.router.add_get(_COLLECTION, handlers.list)
    app.router.add_post(_COLLECTION, handlers.create)
    app.router.add_delete(_COLLECTION, handlers.delete_collection)
    app.router.add_get(_COLLECTION + "/{name}", handlers.read)
    app.router.add_put(_COLLECTION + "/{name}", handlers.replace)
    app.router.add_patch(_COLLECTION + "/{name}", handlers.patch)
    app.router.add_delete(_COLLECTION + "/{name}", handlers.delete)
    app.router.add_get("/api/v1/namespaces/{namespace}/pods/{name}/log", handlers.log)
    app.router.add_route("*", f"{_COLLECTION}/{{name}}/{{subresource:{_SUBRESOURCES}}}", handlers.subresource)
    return app


class Handlers:
    """One method for each verb."""

    def __init__(self, api: Api, node: Node) -> None:
        self._api, self._node = api, node

    async def list(self, request: web.Request) -> web.StreamResponse:
        """List, or watch."""
        resource, namespace = _resource(request), request.match_info.get("namespace")
        view = query.view(resource, namespace, request.query)
        since = query.integer(request.query, "resourceVersion")
        if not query.boolean(request.query, "watch"):
            if since is not None and since > self._api.store.version:
                raise ApiError(504, "Timeout", f"Too large resource version: {since}")
            return _json(self._api.list(resource, view))
        timeout = query.integer(request.query, "timeoutSeconds") or WATCH_TIMEOUT
        bookmarks = query.boolean(request.query, "allowWatchBookmarks")
        events = watch.events(self._api.store, view, resource.kind, since, min(timeout, WATCH_TIMEOUT), bookmarks)
        return await _stream(request, "application/json", (_line(event) async for event in events))

    async def create(self, request: web.Request) -> web.StreamResponse:
        """POST."""
        body = await _body(request, "application/json")
        return _json(self._api.create(_resource(request), request.match_info["namespace"], body), 201)

    async def read(self, request: web.Request) -> web.StreamResponse:
        """GET."""
        return _json(self._api.read(*_place(request)))

    async def replace(self, request: web.Request) -> web.StreamResponse:
        """PUT."""
        place, body = _place(request), await _body(request, "application/json")
        return _json(self._api.replace(*place, body))

    async def patch(self, request: web.Request) -> web.StreamResponse:
        """PATCH."""
        apply = patcher(request.content_type)
        place, body = _place(request), await _body(request, request.content_type)
        return _json(self._api.patch(*place, body, apply))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """DELETE: a pod answers with itself, marked; the rest with a Status, as in Kubernetes."""
        place, body = _place(request), await _body(request, "application/json")
        gone = self._api.delete(*place, query.DeleteOptions.of(request.query, body))
        return _json(gone if place[0] is PODS else _success(place[0], gone))

    async def delete_collection(self, request: web.Request) -> web.StreamResponse:
        """DELETE of what a list would show; answers with that list."""
        resource, body = _resource(request), await _body(request, "application/json")
        view = query.view(resource, request.match_info["namespace"], request.query)
        options = query.DeleteOptions.of(request.query, body)
        return _json(await self._api.delete_collection(resource, view, options))

    async def log(self, request: web.Request) -> web.StreamResponse:
        """A container's log, as text."""
        wanted = query.LogQuery.parse(request.query)
        pod = self._api.read(PODS, request.match_info["namespace"], request.match_info["name"])
        container = _container(pod, request.query.get("container", ""))
        _check_started(pod, container)
        log = self._node.log(pod, container)
        return await _stream(request, "text/plain", log.read(wanted)) if log else web.Response()

    async def subresource(self, request: web.Request) -> web.StreamResponse:
        """What a cluster has and this doesn't."""
        resource = _resource(request)
        raise not_implemented(f"the subresource {request.match_info['subresource']} of {resource.plural}")


@web.middleware
async def _statuses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every refusal with a Status object."""
    try:
        return await handler(request)
    except ApiError as error:
        return _json(error.status(), error.code)
    except web.HTTPException as error:
        return _json(_translated(request, error).status(), error.status)


def _translated(request: web.Request, error: web.HTTPException) -> ApiError:
    """aiohttp's own refusals in Kubernetes' words."""
    known = {
        404: ("NotFound", f"{request.path}: the server could not find the requested resource"),
        405: ("MethodNotAllowed", f"{request.method} isn't allowed on {request.path}"),
        413: ("RequestEntityTooLarge", f"the request's body exceeds the limit of {MAX_BODY} bytes"),
    }
    reason, message = known.get(error.status, (HTTPStatus(error.status).phrase.replace(" ", ""), error.reason))
    return ApiError(error.status, reason, message)


def _authenticated(token: str) -> Any:
    wanted = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if request.path not in (*_HEALTH, *_VERSIONS) and not hmac.compare_digest(given, wanted):
            raise ApiError(401, "Unauthorized", "Unauthorized: the bearer token is in the server's kubeconfig")
        query.refuse_missing(request.query)
        return await handler(request)

    return check


def _resource(request: web.Request) -> Resource:
    plural = request.match_info["plural"]
    if plural not in RESOURCES:
        raise ApiError(404, "NotFound", f"the local Kubernetes API serves {', '.join(RESOURCES)}, not {plural}")
    return RESOURCES[plural]


def _place(request: web.Request) -> tuple[Resource, str, str]:
    return _resource(request), request.match_info["namespace"], request.match_info["name"]


async def _body(request: web.Request, content_type: str) -> Object:
    """The body, a JSON object; an empty one says nothing. Raises ApiError 400, 413 or 415."""
    text = await request.read()
    if not text:
        return {}
    if request.content_type not in (content_type, "application/octet-stream"):  # aiohttp's word for none given
        raise ApiError(415, "UnsupportedMediaType", f"the body must be {content_type}, not {request.content_type}")
    try:
        body = json.loads(text, parse_constant=_no_number)
        json.dumps(body, ensure_ascii=False).encode()  # a lone surrogate is no text
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body isn't JSON in UTF-8: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("the body must be a JSON object")
    _check_depth(body)
    return body


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _check_depth(body: Object) -> None:
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        level = [part for value in level for part in _parts(value)]
    if level:
        raise bad_request(f"the body is nested more than {MAX_DEPTH} levels deep")


def _parts(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _container(pod: Object, name: str) -> str:
    """The container that a log is wanted of. Raises ApiError 400."""
    spec, pod_name = pod["spec"], pod["metadata"]["name"]
    names = [container["name"] for container in spec["containers"]]
    if not name and len(names) > 1:
        raise bad_request(f"a container name must be specified for pod {pod_name}, choose one of: {' '.join(names)}")
    if name and name not in [*names, *(container["name"] for container in spec.get("initContainers", ()))]:
        raise bad_request(f"container {name} is not valid for pod {pod_name}")
    return name or names[0]


def _check_started(pod: Object, name: str) -> None:
    """Raise ApiError 400 for a container that waits to start, in a kubelet's words."""
    found = pod["status"]
    states = [*found.get("containerStatuses", ()), *found.get("initContainerStatuses", ())]
    waiting = {one["name"]: one["state"].get("waiting") for one in states}.get(name, {"reason": "ContainerCreating"})
    if waiting:
        pulling = waiting["reason"] in ("ErrImagePull", "ImagePullBackOff")
        reason = "trying and failing to pull image" if pulling else waiting["reason"]
        pod_name = pod["metadata"]["name"]
        raise bad_request(f'container "{name}" in pod "{pod_name}" is waiting to start: {reason}')


def _success(resource: Resource, gone: Object) -> Object:
    metadata = gone["metadata"]
    details = {"name": metadata["name"], "kind": resource.plural, "uid": metadata["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


async def _stream(request: web.Request, content_type: str, blocks: AsyncIterator[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type})
    response.enable_chunked_encoding()
    with contextlib.suppress(ConnectionResetError):  # the client has seen enough
        await response.prepare(request)
        async for block in blocks:
            await response.write(block)
        await response.write_eof()
    return response


def _line(event: Object) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def _json(body: Object, code: int = 200) -> web.Response:
    return web.json_response(body, status=code)


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _version(_request: web.Request) -> web.Response:
    return _json(_VERSION)
