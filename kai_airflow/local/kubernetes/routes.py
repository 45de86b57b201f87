"""Which Service answers a request, by the Ingresses there are. Pure. Source of the rules: Kubernetes' documentation of
Ingresses, and ingress-nginx's of its annotations.

A path is matched as nginx does it: decoded, without dot segments and repeated slashes. What is matched is what is
passed on, so that no two readings of a path can differ; an encoded slash is a slash.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.networking import (
    PROTOCOL,
    REWRITE,
    STRIP_PATH,
    Backend,
    BackendPort,
    Ingress,
    IngressPath,
)

_SAFE = "/-._~!$&'()*+,;=:@"
_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Target:
    """The Service that answers, on which of its ports and by which protocol, and the path that it is asked for."""

    namespace: str
    service: str
    port: BackendPort
    protocol: str
    path: str


@dataclass(frozen=True)
class Rule:
    """One path of a host (empty: all hosts), or an Ingress's default (no path), and what answers."""

    host: str
    path: IngressPath | None
    backend: Backend
    ingress: Ingress


def clean(path: str) -> str | None:
    """A path as it is matched, a character for each byte; None for one that can't be: nginx answers 400."""
    decoded = unquote_to_bytes(path).decode("latin-1")
    if not path.startswith("/") or _BROKEN.search(path) or "\0" in decoded:
        return None
    segments: list[str] = []
    parts = decoded.split("/")[1:]
    for part in parts:
        if part == ".." and not segments:
            return None
        if part == "..":
            segments.pop()
        elif part not in ("", "."):
            segments.append(part)
    slash = "/" if segments and parts[-1] in ("", ".", "..") else ""
    return "/" + "/".join(segments) + slash


def rules(ingresses: Iterable[Object]) -> list[Rule]:
    """All rules of these Ingresses."""
    return [rule for obj in ingresses for rule in _rules(Ingress.model_validate(obj))]


def find(rules: Sequence[Rule], host: str, path: str) -> Target | None:
    """The target of a request for a host (no port) and a `clean` path; None where no rule is about it.

    A host that some rule names is looked for there alone, whatever the rules for all hosts say.
    """
    named = [rule for rule in rules if rule.path is not None]
    for wanted in (host, f"*.{host.partition('.')[2]}", ""):
        if candidates := [rule for rule in named if rule.host == wanted]:
            found = max((rule for rule in candidates if _matches(rule, path)), key=_rank, default=None)
            return _target(found, path) if found else _default(rules, path)
    return _default(rules, path)


def _default(rules: Sequence[Rule], path: str) -> Target | None:
    return next((_target(rule, path) for rule in rules if rule.path is None), None)


def _rules(ingress: Ingress) -> Iterable[Rule]:
    if ingress.spec.default_backend is not None:
        yield Rule("", None, ingress.spec.default_backend, ingress)
    for rule in ingress.spec.rules:
        for path in rule.http.paths if rule.http else ():
            yield Rule(rule.host, path, path.backend, ingress)


def _rank(rule: Rule) -> tuple[bool, int]:
    """Exact paths first, then the longest."""
    return (False, 0) if rule.path is None else (rule.path.path_type == "Exact", len(rule.path.path))


def _matches(rule: Rule, path: str) -> bool:
    if rule.path is None:
        return True
    wanted = rule.path.path
    if rule.path.path_type == "Exact":
        return path == wanted
    if rule.ingress.is_regex:  # whatever the other type: so nginx does it
        return _matched(rule, path) is not None
    prefix = wanted.rstrip("/")
    return path == prefix or path.startswith(f"{prefix}/")


def _matched(rule: Rule, path: str) -> re.Match[str] | None:
    """nginx's locations: from the path's beginning, whatever the case."""
    flags = re.IGNORECASE | re.ASCII | re.DOTALL  # a newline doesn't cut a path short
    return re.match(rule.path.path, path, flags) if rule.path else None


def _target(rule: Rule, path: str) -> Target:
    about, service = rule.ingress.metadata, rule.backend.service
    protocol = about.annotations.get(PROTOCOL, "HTTP").upper()
    asked = quote(_rewritten(rule, path).encode("latin-1"), safe=_SAFE)
    return Target(about.namespace, service.name, service.port, protocol, asked)


def _rewritten(rule: Rule, path: str) -> str:
    """The path that the backend sees: the rewrite-target with its `$1`, or without the prefix that Kong strips."""
    annotations = rule.ingress.metadata.annotations
    target = annotations.get(REWRITE, "")
    if target and (match := _matched(rule, path)):
        return "/" + re.sub(r"\$(\d)", lambda named: _group(match, int(named[1])), target).lstrip("/")
    if annotations.get(STRIP_PATH) == "true" and rule.path and rule.path.path_type == "Prefix":
        return "/" + path.removeprefix(rule.path.path.rstrip("/")).lstrip("/")
    return path


def _group(match: re.Match[str], number: int) -> str:
    return (match[number] or "") if number <= len(match.groups()) else ""
