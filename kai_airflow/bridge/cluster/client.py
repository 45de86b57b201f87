"""The Kubernetes cluster: its objects as the API's own JSON, of one namespace at a time."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml
from kubernetes_asyncio import client, config
from kubernetes_asyncio.config import kube_config
from kubernetes_asyncio.config.incluster_config import SERVICE_HOST_ENV_NAME

from kai_airflow.errors import KaiAirflowError
from kai_airflow.krt import shown
from kai_airflow.kube.live import MANAGER

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from kai_airflow.bridge.site import Cluster
    from kai_airflow.kube.objects import Manifest

ANSWER = 10.0  # seconds for all but a watch
LOG = 3.0  # seconds for a log, whose node may be lost: who asks wants to see the rest
LINGER = 5.0  # seconds that a watch may be late before its connection counts as dead
PAGE = 500  # objects of a list at a time
_LONGEST = 600  # characters of what the API says that an error repeats
_SETUP = "Remedy: name a kubeconfig in Airflow's connection kubernetes_default, or set in_cluster."


@dataclass(frozen=True)
class Kind:
    """A kind of objects, and where the API has it."""

    api: str
    name: str
    plural: str

    def path(self, namespace: str, name: str = "") -> str:
        """Of all of a namespace, or of one of them."""
        root = "api" if "/" not in self.api else "apis"
        return f"/{root}/{self.api}/namespaces/{namespace}/{self.plural}{'/' if name else ''}{name}"


DEPLOYMENTS = Kind("apps/v1", "Deployment", "deployments")
SERVICES = Kind("v1", "Service", "services")
SECRETS = Kind("v1", "Secret", "secrets")
PODS = Kind("v1", "Pod", "pods")
EVENTS = Kind("v1", "Event", "events")
AUTOSCALERS = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
INGRESSES = Kind("networking.k8s.io/v1", "Ingress", "ingresses")
LEASES = Kind("coordination.k8s.io/v1", "Lease", "leases")

_KINDS = {kind.name: kind for kind in (DEPLOYMENTS, SERVICES, SECRETS, AUTOSCALERS, INGRESSES, LEASES)}


class ClusterError(KaiAirflowError):
    """The cluster refuses, or doesn't answer; ``status`` is the HTTP status, 0 for no answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class OutdatedError(ClusterError):
    """A watch was to begin at a version that the API has forgotten: list anew."""


@dataclass(frozen=True)
class Listed:
    """Objects as they were at ``version``, from where a watch goes on."""

    items: tuple[Manifest, ...]
    version: str


class Kubernetes:
    """The API of a cluster. Made by :func:`reaching`; all calls raise ClusterError."""

    def __init__(self, api: Any) -> None:
        self._api = api

    async def apply(self, manifest: Manifest, namespace: str) -> Manifest:
        """Have an object say what the manifest says, also where others said something else (server-side apply).

        :returns: the object as it is now
        """
        kind, name = _KINDS[manifest["kind"]], manifest["metadata"]["name"]
        query = {"fieldManager": MANAGER, "force": "true"}
        applied: Manifest = await self._ask("PATCH", kind, namespace, name, query=query, body=manifest)
        return applied

    async def create(self, kind: Kind, namespace: str, manifest: Manifest) -> Manifest:
        """Make an object. ClusterError with status 409: there is one of that name."""
        made: Manifest = await self._ask("POST", kind, namespace, body=manifest)
        return made

    async def replace(self, kind: Kind, namespace: str, manifest: Manifest) -> Manifest:
        """Replace that very state of an object. ClusterError with status 409: it has changed."""
        replaced: Manifest = await self._ask("PUT", kind, namespace, manifest["metadata"]["name"], body=manifest)
        return replaced

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """An object, None where there is none."""
        try:
            found: Manifest = await self._ask("GET", kind, namespace, name)
        except ClusterError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return found

    async def delete(self, kind: Kind, found: Manifest) -> None:
        """Delete that very object, not one that has taken its name; what it owns goes after it."""
        meta = found["metadata"]
        options = {"propagationPolicy": "Background", "preconditions": {"uid": meta["uid"]}}
        try:
            await self._ask("DELETE", kind, meta["namespace"], meta["name"], body=options)
        except ClusterError as error:
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                raise

    async def list(self, kind: Kind, namespace: str, selector: str = "", fields: str = "") -> Listed:
        """The objects that a label selector, and a field selector, select."""
        items: list[Manifest] = []
        query: dict[str, Any] = {"labelSelector": selector, "fieldSelector": fields, "limit": PAGE}
        while True:
            page = await self._ask("GET", kind, namespace, query=query)
            items += page.get("items") or ()
            if not page["metadata"].get("continue"):
                return Listed(tuple(items), page["metadata"]["resourceVersion"])
            query["continue"] = page["metadata"]["continue"]

    async def watch(
        self, kind: Kind, namespace: str, selector: str, since: str, seconds: int
    ) -> AsyncGenerator[tuple[str, Manifest], None]:
        """What becomes of objects from a version on, as ADDED, MODIFIED, DELETED or BOOKMARK; for so many seconds.

        :raises OutdatedError: nobody knows that version any more
        """
        query = {"watch": "true", "labelSelector": selector, "resourceVersion": since, "timeoutSeconds": seconds}
        query |= {"allowWatchBookmarks": "true"}
        doing = _doing("watch", kind, namespace)
        try:
            answer = await self._send("GET", kind.path(namespace), doing, query, None, seconds + LINGER)
            async with answer:
                await _require_good(answer, doing, "watch", kind, namespace)
                async for line in answer.content:
                    yield _event(line, doing)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ClusterError(0, f"Kubernetes: cannot {doing}: {_unheard(error)}") from error

    async def log(self, namespace: str, pod: str, container: str, *, previous: bool, lines: int, most: int) -> str:
        """The last lines of a container, or of the one before it, bytes at most; empty where there is no log."""
        doing = f"read the log of pod {namespace}/{pod}"
        query = {"container": container, "previous": json.dumps(previous), "tailLines": lines, "limitBytes": most}
        path = f"{PODS.path(namespace, pod)}/log"
        try:
            async with await self._send("GET", path, doing, query, None, LOG) as answer:
                if answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
                    return ""
                await _require_good(answer, doing, "get", Kind("v1", "Pod", "pods/log"), namespace)
                return (await answer.read()).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterError(0, f"Kubernetes: cannot {doing}: {_unheard(error)}") from error

    async def _ask(
        self,
        method: str,
        kind: Kind,
        namespace: str,
        name: str = "",
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        verb = _VERBS[method] if name or method != "GET" else "list"
        doing = _doing(verb, kind, namespace, name or (body or {}).get("metadata", {}).get("name", ""))
        try:
            async with await self._send(method, kind.path(namespace, name), doing, query, body, ANSWER) as answer:
                await _require_good(answer, doing, verb, kind, namespace)
                return json.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ClusterError(0, f"Kubernetes: cannot {doing}: {_unheard(error)}") from error

    async def _send(
        self, method: str, path: str, doing: str, query: Mapping[str, Any] | None, body: Any, seconds: float
    ) -> aiohttp.ClientResponse:
        """One request. The generated calls make objects of all that comes, and know no apply of JSON."""
        content = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        try:
            answer: aiohttp.ClientResponse = await self._api.call_api(
                path,
                method,
                query_params=[(key, value) for key, value in (query or {}).items() if value != ""],
                header_params={"Content-Type": content, "Accept": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=seconds,
            )
        except config.ConfigException as error:  # a token that can't be renewed
            raise ClusterError(0, f"Kubernetes: cannot {doing}: {error}. {_SETUP}") from error
        return answer


@asynccontextmanager
async def reaching(cluster: Cluster) -> AsyncIterator[Kubernetes]:
    """The API of a cluster; whether it is there shows when it is asked.

    :raises ClusterError: nobody says where it is, or what says so can't be used
    """
    configuration = client.Configuration()
    configuration.connection_pool_maxsize = 0  # no limit: each watch holds one
    # As before Python 3.13, which asks more of a cluster's authority than Kubernetes: EKS's has no key identifiers.
    configuration.disable_strict_ssl_verification = True
    loader = await _configured(cluster, configuration)
    renewing = asyncio.create_task(config.refresh_token(loader, configuration)) if loader else None
    try:
        async with client.ApiClient(configuration) as api:
            yield Kubernetes(api)
    finally:
        if renewing:
            renewing.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await renewing


async def _configured(cluster: Cluster, configuration: Any) -> Any:
    """Configure the client; gives what can renew its token, where somebody has to."""
    how: dict[str, Any] = {"context": cluster.context, "client_configuration": configuration}
    try:
        if cluster.config:
            return await config.load_kube_config_from_dict(dict(cluster.config), **how)
        if cluster.kubeconfig or SERVICE_HOST_ENV_NAME not in os.environ:
            files = _there(cluster.kubeconfig or kube_config.KUBE_CONFIG_DEFAULT_LOCATION)
            return await config.load_kube_config(files, persist_config=False, **how)
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except (config.ConfigException, yaml.YAMLError, OSError, TypeError, ValueError) as error:
        where = "kubeconfig" if cluster.kubeconfig or cluster.config else "this runs in no cluster, and KUBECONFIG"
        raise ClusterError(0, f"Kubernetes: {where}: {str(error).rstrip('.')}. {_SETUP}") from error
    return None


def _there(files: str) -> str:
    """Those of a list of files that are there; the client tells of each that isn't, each time."""
    found = [file for file in files.split(os.pathsep) if Path(file).expanduser().is_file()]
    if not found:
        raise FileNotFoundError(f"no file {files}")
    return os.pathsep.join(found)


def _event(line: bytes, doing: str) -> tuple[str, Manifest]:
    said = json.loads(line)
    what: Manifest = said["object"]
    if said["type"] == "ERROR":
        code, text = int(what.get("code") or 0), what.get("message", "")
        error = OutdatedError if code == HTTPStatus.GONE else ClusterError
        raise error(code, f"Kubernetes: cannot {doing}: {code} {text}")
    return said["type"], what


async def _require_good(answer: aiohttp.ClientResponse, doing: str, verb: str, kind: Kind, namespace: str) -> None:
    if answer.ok:
        return
    text = (await answer.read()).decode(errors="replace")
    with suppress(ValueError, KeyError, TypeError):
        text = json.loads(text)["message"]
    said = f"Kubernetes: cannot {doing}: {answer.status} {shown(text)[:_LONGEST].rstrip('.')}."
    error = OutdatedError if answer.status == HTTPStatus.GONE else ClusterError
    raise error(answer.status, f"{said}{_remedy(answer.status, text, verb, kind, namespace)}")


def _remedy(status: int, text: str, verb: str, kind: Kind, namespace: str) -> str:
    if status == HTTPStatus.FORBIDDEN and '" cannot ' in text:  # a quota, a policy, a namespace that ends say it, too
        return f" Remedy: let the bridge {verb} {kind.plural} in namespace {namespace}: docs/deploying.md has the Role."
    if status == HTTPStatus.UNAUTHORIZED:
        return f" {_SETUP}"
    return ""


_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def _doing(verb: str, kind: Kind, namespace: str, name: str = "") -> str:
    word = "apply" if verb == "patch" else verb
    return f"{word} {kind.name} {namespace}/{name}" if name else f"{word} {kind.plural} of namespace {namespace}"


def _unheard(error: Exception) -> str:
    said = "no answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
    return f"{said}. Remedy: see that the cluster can be reached."
