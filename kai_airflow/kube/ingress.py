"""The Ingress of a product, by which people reach its triggers: KAI's own, for whichever controller the cluster has.

Triggers are asked for their own paths: what leads to them is taken away on the way. Kong does so by an annotation, as
KAI has it, ingress-nginx by paths that are regular expressions, others by annotations alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kai_airflow.kube.live import MANAGED_BY, MANAGER, PORT, SITE_LABEL, deployment_name, has_service
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kai_airflow.kube.objects import Manifest
    from kai_airflow.plan import Process, Workflow

_STRIP_PATH = {"konghq.com/strip-path": "true"}  # as KAI's own, for Kong; others ignore it
USE_REGEX = "nginx.ingress.kubernetes.io/use-regex"
_REWRITE = "nginx.ingress.kubernetes.io/rewrite-target"
_REST = "(/|$)(.*)"  # behind a path, in a regular expression: the trigger's own path, without its first slash
_REST_ALONE = {_REWRITE: "/$2"}


@dataclass(frozen=True)
class Publishing:
    """How a cluster publishes: what Airflow's section ``[kai_airflow]`` says of Ingresses.

    ``domain``: below which each product has its host; without one all share any host. ``tls_secret``: the Secret of
    the certificate, ``{product}`` in it stands for the product; empty for plain HTTP.
    """

    domain: str = ""
    ingress_class: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    tls_secret: str = ""

    @property
    def is_regex(self) -> bool:
        """Whether paths are regular expressions: ingress-nginx takes them so where it rewrites, too."""
        return self.annotations.get(USE_REGEX) == "true" or _REWRITE in self.annotations

    @property
    def takes_grpc(self) -> bool:
        """Whether gRPC can be published: paths are told apart without a domain, hosts can't be; and ingress-nginx
        asks all that one Ingress leads to in one protocol, and rewrites every path.
        """
        return bool(self.domain) and not self.is_regex


@dataclass(frozen=True)
class Published:
    """A trigger of an Ingress: its process, and where people reach it; ``url`` is None as long as nobody knows."""

    workflow: str
    process: str
    url: str | None


def ingress(workflows: Iterable[Workflow], site: str, how: Publishing) -> Manifest | None:
    """The Ingress of a product's version, whose workflows these are; None where no trigger can be called.

    gRPC triggers are left out where they can't be published.
    """
    listed = list(workflows)
    rules = [*_http_rules(listed, how), *(_grpc_rules(listed, how) if how.takes_grpc else ())]
    if not rules:
        return None
    product, version = listed[0].product, listed[0].version
    metadata = {
        "name": names.ingress(product),
        "labels": {
            "product": product,
            "version": names.label(version),
            "type": "network",
            MANAGED_BY: MANAGER,
            SITE_LABEL: site,
        },
        "annotations": {**(_REST_ALONE if how.is_regex else _STRIP_PATH), **how.annotations},
    }
    spec: Manifest = {"rules": rules}
    if how.ingress_class:
        spec["ingressClassName"] = how.ingress_class
    if how.tls_secret:
        hosts = {"hosts": [rule["host"] for rule in rules]} if how.domain else {}
        spec["tls"] = [{**hosts, "secretName": how.tls_secret.replace("{product}", product)}]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def triggers(workflows: Iterable[Workflow], protocol: str) -> list[tuple[Workflow, Process]]:
    """The triggers that can be called by a protocol, ``HTTP`` or ``GRPC``."""
    return [
        (workflow, process)
        for workflow in workflows
        for process in workflow.processes
        if has_service(process) and process.networking and process.networking.protocol == protocol
    ]


def published(found: Mapping[str, Any], workflows: Iterable[Workflow]) -> tuple[Published, ...]:
    """What an Ingress, as the API gives it, publishes of these workflows."""
    backends = {process.live.deployment: (w, process) for w in workflows for process in w.processes if process.live}
    shown = []
    for rule in found["spec"].get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            name = ((path.get("backend") or {}).get("service") or {}).get("name")
            if name in backends:
                workflow, process = backends[name]
                shown.append(Published(workflow.name, process.name, _url(found, rule, path, process)))
    return tuple(shown)


def _url(found: Mapping[str, Any], rule: Mapping[str, Any], path: Mapping[str, Any], process: Process) -> str | None:
    address = rule.get("host") or _balancer(found)
    if address is None:
        return None
    scheme = "grpc" if process.networking and process.networking.protocol == "GRPC" else "http"
    whole = path.get("path", "/").removesuffix(_REST).rstrip("/")
    return f"{scheme}{'s' if found['spec'].get('tls') else ''}://{address}{whole}"


def _balancer(found: Mapping[str, Any]) -> str | None:
    """Where the cluster serves Ingresses; None as long as no controller has said so."""
    balancers = ((found.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for one in balancers:
        ports = [str(port["port"]) for port in one.get("ports") or () if port.get("port") not in (80, 443)]
        return ":".join([one.get("hostname") or one["ip"], *ports[:1]])
    return None


def _http_rules(workflows: Iterable[Workflow], how: Publishing) -> Iterator[Manifest]:
    paths = []
    for workflow, process in triggers(workflows, "HTTP"):
        path = names.published_path(workflow.name, process.name)
        whole = path if how.domain else f"/{workflow.product}{path}"
        paths.append(_expression(whole, process) if how.is_regex else _prefix(whole, process))
        product = workflow.product
    if paths:
        host = {"host": names.published_host(product, how.domain)} if how.domain else {}
        yield {**host, "http": {"paths": paths}}


def _grpc_rules(workflows: Iterable[Workflow], how: Publishing) -> Iterator[Manifest]:
    for workflow, process in triggers(workflows, "GRPC"):
        host = names.published_host(f"{workflow.product}-{workflow.name}-{process.name}", how.domain)
        yield {"host": host, "http": {"paths": [_prefix("/", process)]}}


def _prefix(path: str, process: Process) -> Manifest:
    return {"path": path, "pathType": "Prefix", "backend": _backend(process)}


def _expression(path: str, process: Process) -> Manifest:
    """A path as ingress-nginx wants it: what is behind it are the groups of the rewrite-target."""
    return {"path": f"{path}{_REST}", "pathType": "ImplementationSpecific", "backend": _backend(process)}


def _backend(process: Process) -> Manifest:
    return {"service": {"name": deployment_name(process), "port": {"name": PORT}}}
