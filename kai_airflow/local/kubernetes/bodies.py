"""The bodies of requests: JSON, and for server-side apply YAML too. Bounded, and text in UTF-8 all through."""

import json
from typing import Any

import yaml
from aiohttp import web

from kai_airflow.local.kubernetes.errors import ApiError, Object, bad_request

JSON = "application/json"
APPLY = "application/apply-patch+yaml"

MAX_BODY = 3 << 20
"""Bytes of a request's body, as a kube-apiserver's limit."""

MAX_DEPTH = 64
"""Levels of nesting in a body; the deepest part of a pod has about ten."""


async def read(request: web.Request, content_type: str = JSON) -> Object:
    """The body, an object; an empty one says nothing. Raises ApiError 400, 413 or 415."""
    text = await request.read()
    if not text:
        return {}
    if request.content_type not in (content_type, "application/octet-stream"):  # aiohttp's word for none given
        raise ApiError(415, "UnsupportedMediaType", f"the body must be {content_type}, not {request.content_type}")
    body = _parsed(_from_yaml(text) if content_type == APPLY else text)
    if not isinstance(body, dict):
        raise bad_request("the body must be an object")
    _check_depth(body)
    return body


def _parsed(text: bytes | str) -> Any:
    try:
        body = json.loads(text, parse_constant=_no_number)
        json.dumps(body, ensure_ascii=False).encode()  # a lone surrogate is no text
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body isn't JSON in UTF-8: {error}") from error
    return body


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes takes it: what looks like a date is text. No aliases: a few can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases aren't taken")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _from_yaml(text: bytes) -> str:
    try:
        return json.dumps(yaml.load(text, Loader=_Loader))  # noqa: S506 - a SafeLoader that takes less
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise bad_request(f"the body isn't YAML that JSON could say: {error}") from error


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
