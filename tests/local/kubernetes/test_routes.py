"""Rules of Ingresses alone: which Service answers, and what path it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from kai_airflow.local.kubernetes import routes

REGEX = {
    "nginx.ingress.kubernetes.io/use-regex": "true",
    "nginx.ingress.kubernetes.io/rewrite-target": "/$2",
}


def ingress(*rules: tuple[str, str, str, str], default: str = "", **annotations: str) -> dict[str, Any]:
    """Rules: host, path, type, Service."""

    def backend(service: str) -> dict[str, Any]:
        return {"service": {"name": service, "port": {"number": 80}}}

    spec: dict[str, Any] = {
        "rules": [
            {"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": backend(service)}]}}
            for host, path, kind, service in rules
        ]
    }
    if default:
        spec["defaultBackend"] = backend(default)
    return {"metadata": {"name": "i", "namespace": "x", "annotations": annotations}, "spec": spec}


def found(host: str, path: str, *ingresses: dict[str, Any]) -> tuple[str, str] | None:
    """The Service and the path that it is asked for."""
    clean = routes.clean(path)
    assert clean is not None
    target = routes.find(routes.rules(ingresses), host, clean)
    return (target.service, target.path) if target else None


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/shop", "prefix"),
        ("/shop/", "prefix"),
        ("/shop/cart", "prefix"),
        ("/shopping", None),
        ("/", None),
        ("/exact", "exact"),
        ("/exact/", None),
        ("/shop/deep/x", "longer"),
    ],
)
def test_prefixes_end_at_a_slash_and_the_longest_wins(path: str, service: str | None) -> None:
    rules = ingress(
        ("", "/shop", "Prefix", "prefix"), ("", "/exact", "Exact", "exact"), ("", "/shop/deep", "Prefix", "longer")
    )
    answer = found("a", path, rules)
    assert (answer and answer[0]) == service
    assert answer is None or answer[1] == path


def test_an_exact_path_goes_before_a_prefix() -> None:
    assert found("a", "/x", ingress(("", "/x", "Prefix", "p"), ("", "/x", "Exact", "e"))) == ("e", "/x")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/shop/api-web", "/"),
        ("/shop/api-web/", "/"),
        ("/shop/api-web/orders/1", "/orders/1"),
        ("/shop/api-web/a%20b/%C3%A9", "/a%20b/%C3%A9"),
        ("/shop/api-web//orders", "/orders"),
        ("/shop/API-web/x", "/x"),
        ("/shop/api-web/a%3Fb%23c%25d", "/a%3Fb%23c%25d"),
        ("/shop/api-web/a+b;c=d", "/a+b;c=d"),
        ("/shop/api-web/%0d%0aX-Evil:%201", "/%0D%0AX-Evil:%201"),
    ],
)
def test_a_prefix_is_taken_away_as_nginx_does_it(path: str, asked: str) -> None:
    rules = ingress(("", "/shop/api-web(/|$)(.*)", "ImplementationSpecific", "s"), **REGEX)
    assert found("a", path, rules) == ("s", asked)


@pytest.mark.parametrize("path", ["/shop/api-website", "/shop", "/x/shop/api-web"])
def test_a_regular_expression_must_match_from_the_beginning(path: str) -> None:
    rules = ingress(("", "/shop/api-web(/|$)(.*)", "ImplementationSpecific", "s"), **REGEX)
    assert found("a", path, rules) is None


def test_a_prefix_is_a_regular_expression_too_where_the_annotations_say_so() -> None:
    assert found("a", "/Shopping", ingress(("", "/shop", "Prefix", "s"), **REGEX)) == ("s", "/")


def test_a_group_that_is_not_there_is_empty() -> None:
    annotations = {**REGEX, "nginx.ingress.kubernetes.io/rewrite-target": "/a/$1/$9"}
    rules = ingress(("", "/x/(.*)", "ImplementationSpecific", "s"), **annotations)
    assert found("a", "/x/y", rules) == ("s", "/a/y/")


def test_a_group_can_not_name_another_host() -> None:
    rules = ingress(("", "/x(.*)", "ImplementationSpecific", "s"), **{**REGEX, list(REGEX)[1]: "$1"})
    assert found("a", "/x@evil/y", rules) == ("s", "/@evil/y")


@pytest.mark.parametrize(("path", "asked"), [("/w-p", "/"), ("/w-p/x", "/x"), ("/w-p/", "/")])
def test_kong_s_annotation_of_kai_s_own_ingress_takes_the_path_away(path: str, asked: str) -> None:
    rules = ingress(("", "/w-p", "Prefix", "s"), **{"konghq.com/strip-path": "true"})
    assert found("a", path, rules) == ("s", asked)


@pytest.mark.parametrize(
    ("host", "service"), [("a.b", "named"), ("x.b", "wild"), ("x.y.b", "any"), ("c", "any"), ("b", "any")]
)
def test_the_most_particular_host_wins(host: str, service: str) -> None:
    rules = ingress(("a.b", "/", "Prefix", "named"), ("*.b", "/", "Prefix", "wild"), ("", "/", "Prefix", "any"))
    assert found(host, "/x", rules) == (service, "/x")


def test_a_named_host_has_its_own_paths_only() -> None:
    rules = [ingress(("a", "/x", "Prefix", "named"), ("", "/y", "Prefix", "any"))]
    assert found("a", "/y", *rules) is None
    assert found("b", "/y", *rules) == ("any", "/y")


def test_a_default_backend_answers_the_rest() -> None:
    assert found("a", "/y", ingress(("", "/x", "Prefix", "s"), default="rest")) == ("rest", "/y")


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/a/../b", "/b"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/.%2E/b/", "/b/"),
        ("/a/./b/.", "/a/b/"),
        ("/a%2F..%2Fb", "/b"),
        ("//a///b", "/a/b"),
        ("/", "/"),
        ("/a/..", "/"),
        ("/%FF", "/\xff"),
        ("/..", None),
        ("/a/../../b", None),
        ("/%2e%2e%2fb", None),
        ("/a%00b", None),
        ("/a%", None),
        ("/a%zz", None),
        ("a", None),
        ("", None),
        ("*", None),
        ("http://other/x", None),
    ],
)
def test_what_is_matched_has_no_dots_no_encodings_and_no_empty_segments(path: str, clean: str | None) -> None:
    assert routes.clean(path) == clean
