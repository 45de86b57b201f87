"""The HTTP side: URLs, bodies, the token, streams. Everything else is the Api's."""

import contextlib
import hmac
import json
import platform
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from kai_airflow.local.kubernetes import bodies, query, scale, watch
from kai_airflow.local.kubernetes.api import Api
from kai_airflow.local.kubernetes.errors import ApiError, Object, bad_request, not_implemented
from kai_airflow.local.kubernetes.node import Node
from kai_airflow.local.kubernetes.patch import patcher
from kai_airflow.local.kubernetes.resources import DEPLOYMENTS, PODS, RESOURCES, Resource

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

WATCH_TIMEOUT = 1800
"""Seconds of a watch that doesn't say how long, at most."""

_HEALTH = ("/readyz", "/livez", "/healthz")
_VERSIONS = ("/version", "/version/")  # the clients ask for the second
_SUBRESOURCES = "status|scale|exec|attach|portforward|proxy|eviction|binding|resize|ephemeralcontainers"
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
    app = web.Application(middlewares=[_statuses, _authenticated(token)], client_max_size=bodies.MAX_BODY)
    handlers = Handlers(api, node)
    for path in _HEALTH:
        app.router.add_get(path, _healthy)
    for path in _VERSIONS:
        app.router.add_get(path, _version)
    app.router.add_get("/api/v1/namespaces/{namespace}/pods/{name}/log", handlers.log)
    scaled = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"
    app.router.add_get(scaled, handlers.read_scale)
    app.router.add_put(scaled, handlers.replace_scale)
    app.router.add_patch(scaled, handlers.patch_scale)
    for group in ("/api/{version}", "/apis/{group}/{version}"):
        _add_verbs(app.router, group, handlers)
    return app


def _add_verbs(router: web.UrlDispatcher, group: str, handlers: "Handlers") -> None:
    collection = f"{group}/namespaces/{{namespace}}/{{plural}}"
    router.add_get(f"{group}/{{plural}}", handlers.list)
    router.add_get(collection, handlers.list)
    router.add_post(collection, handlers.create)
    router.add_delete(collection, handlers.delete_collection)
    router.add_get(f"{collection}/{{name}}", handlers.read)
    router.add_put(f"{collection}/{{name}}", handlers.replace)
    router.add_patch(f"{collection}/{{name}}", handlers.patch)
    router.add_delete(f"{collection}/{{name}}", handlers.delete)
    router.add_route("*", f"{collection}/{{name}}/{{subresource:{_SUBRESOURCES}}}", handlers.subresource)


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
        events = watch.events(self._api.store, view, resource, since, min(timeout, WATCH_TIMEOUT), bookmarks)
        return await _stream(request, "application/json", (_line(event) async for event in events))

    async def create(self, request: web.Request) -> web.StreamResponse:
        """POST."""
        body = await bodies.read(request)
        namespace = request.match_info["namespace"]
        return _json(self._api.create(_resource(request), namespace, body, _manager(request)), 201)

    async def read(self, request: web.Request) -> web.StreamResponse:
        """GET."""
        return _json(self._api.read(*_place(request)))

    async def replace(self, request: web.Request) -> web.StreamResponse:
        """PUT."""
        place, body = _place(request), await bodies.read(request)
        return _json(self._api.replace(*place, body, _manager(request)))

    async def patch(self, request: web.Request) -> web.StreamResponse:
        """PATCH: server-side apply, which may make the object, or a patch of one that is there."""
        if request.content_type == bodies.APPLY:
            return await self._apply(request)
        change = patcher(request.content_type)
        place, body = _place(request), await bodies.read(request, request.content_type)
        return _json(self._api.patch(*place, body, change, _manager(request)))

    async def _apply(self, request: web.Request) -> web.StreamResponse:
        place, applier = _place(request), query.applier(request.query)
        body = await bodies.read(request, bodies.APPLY)
        known = self._api.exists(*place)
        return _json(self._api.apply(*place, body, applier), 200 if known else 201)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """DELETE: a pod answers with itself, marked; the rest with a Status, as in Kubernetes."""
        place, body = _place(request), await bodies.read(request)
        gone = self._api.delete(*place, query.DeleteOptions.of(request.query, body))
        return _json(gone if place[0] is PODS else _success(place[0], gone))

    async def delete_collection(self, request: web.Request) -> web.StreamResponse:
        """DELETE of what a list would show; answers with that list."""
        resource, body = _resource(request), await bodies.read(request)
        view = query.view(resource, request.match_info["namespace"], request.query)
        options = query.DeleteOptions.of(request.query, body)
        return _json(await self._api.delete_collection(resource, view, options))

    async def log(self, request: web.Request) -> web.StreamResponse:
        """A container's log, as text."""
        wanted = query.LogQuery.parse(request.query)
        pod = self._api.read(PODS, request.match_info["namespace"], request.match_info["name"])
        container = _container(pod, request.query.get("container", ""))
        _check_started(pod, container, wanted)
        log = self._node.log(pod, container, previous=wanted.previous)
        return await _stream(request, "text/plain", log.read(wanted)) if log else web.Response()

    async def read_scale(self, request: web.Request) -> web.StreamResponse:
        """GET of a Deployment's scale."""
        return _json(scale.of(self._api.read(DEPLOYMENTS, *_names(request))))

    async def replace_scale(self, request: web.Request) -> web.StreamResponse:
        """PUT of a Deployment's scale."""
        body = await bodies.read(request)
        return _json(scale.replace(self._api, *_names(request), body, _manager(request)))

    async def patch_scale(self, request: web.Request) -> web.StreamResponse:
        """PATCH of a Deployment's scale."""
        change, body = patcher(request.content_type), await bodies.read(request, request.content_type)
        old = scale.of(self._api.read(DEPLOYMENTS, *_names(request)))
        return _json(scale.replace(self._api, *_names(request), change(old, body), _manager(request)))

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
        413: ("RequestEntityTooLarge", f"the request's body exceeds the limit of {bodies.MAX_BODY} bytes"),
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
    named = request.match_info
    api_version = f"{named['group']}/{named['version']}" if "group" in named else named["version"]
    found = RESOURCES.get(named["plural"])
    if found is None or found.api_version != api_version:
        known = ", ".join(f"{resource.plural} ({resource.api_version})" for resource in RESOURCES.values())
        what = f"the local Kubernetes API serves {known}, not {named['plural']} ({api_version})"
        raise ApiError(404, "NotFound", what)
    return found


def _place(request: web.Request) -> tuple[Resource, str, str]:
    return _resource(request), *_names(request)


def _names(request: web.Request) -> tuple[str, str]:
    return request.match_info["namespace"], request.match_info["name"]


def _manager(request: web.Request) -> str:
    return query.manager(request.query, request.headers.get("User-Agent", ""))


def _container(pod: Object, name: str) -> str:
    """The container that a log is wanted of. Raises ApiError 400."""
    spec, pod_name = pod["spec"], pod["metadata"]["name"]
    names = [container["name"] for container in spec["containers"]]
    if not name and len(names) > 1:
        raise bad_request(f"a container name must be specified for pod {pod_name}, choose one of: {' '.join(names)}")
    if name and name not in [*names, *(container["name"] for container in spec.get("initContainers", ()))]:
        raise bad_request(f"container {name} is not valid for pod {pod_name}")
    return name or names[0]


def _check_started(pod: Object, name: str, wanted: query.LogQuery) -> None:
    """Raise ApiError 400 for a container that has no such log yet, in a kubelet's words."""
    found, pod_name = pod["status"], pod["metadata"]["name"]
    standings = [*found.get("containerStatuses", ()), *found.get("initContainerStatuses", ())]
    one = {one["name"]: one for one in standings}.get(name, {"state": {"waiting": {"reason": "ContainerCreating"}}})
    waiting = one["state"].get("waiting")
    if one.get("lastState"):
        return
    if wanted.previous:
        raise bad_request(f'previous terminated container "{name}" in pod "{pod_name}" not found')
    if waiting:
        pulling = waiting["reason"] in ("ErrImagePull", "ImagePullBackOff")
        reason = "trying and failing to pull image" if pulling else waiting["reason"]
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
