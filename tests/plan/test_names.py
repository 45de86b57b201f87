"""Names: KAI's own where they can be, never two alike, never longer than what takes them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_airflow.plan import names

NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?", fullmatch=True)
PRODUCT = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
VERSION = st.from_regex(r"v[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}", fullmatch=True)
# Few letters, so that names meet.
CLOSE = st.from_regex(r"[ab](-?[ab]){0,3}", fullmatch=True)
LONG = f"v1.0.{'1' * 300}"


def test_a_deployment_has_kais_name() -> None:
    given_names = names.deployments("shop", "v1.2.3", [("train", "pick"), ("train", "pack")])
    assert given_names == {("train", "pick"): "shop-v1-2-3-train-pick", ("train", "pack"): "shop-v1-2-3-train-pack"}


def test_where_kais_names_would_be_one_each_has_a_hash() -> None:
    found = names.deployments("shop", "v1.0.0", [("x-y", "z"), ("x", "y-z"), ("x", "other")])
    assert found["x", "other"] == "shop-v1-0-0-x-other"
    first, second = found["x-y", "z"], found["x", "y-z"]
    assert first != second
    assert all(re.fullmatch(r"shop-v1-0-0-x-y-z-[0-9a-f]{8}", name) for name in (first, second))


def test_a_name_that_is_one_with_a_hash_gets_a_hash_as_well() -> None:
    clash = names.deployments("shop", "v1.0.0", [("x-y", "z"), ("x", "y-z")])["x-y", "z"]
    process = clash.removeprefix("shop-v1-0-0-x-y-")
    found = names.deployments("shop", "v1.0.0", [("x-y", "z"), ("x", "y-z"), ("x-y", process)])
    assert len(set(found.values())) == 3


@given(PRODUCT, VERSION, st.sets(st.tuples(CLOSE, CLOSE), min_size=1))
def test_no_two_deployments_of_a_product_are_alike(product: str, version: str, processes: set[tuple[str, str]]) -> None:
    found = names.deployments(product, version, sorted(processes))
    assert len(set(found.values())) == len(processes)
    for name in found.values():
        assert len(name) <= 63
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)


def test_products_whose_names_hold_a_version_meet_no_others() -> None:
    """Product ``a``, workflow ``v2-0-0-x``, and product ``a-v1-0-0`` in version v2.0.0 with workflow ``x``."""
    one = names.deployments("a", "v1.0.0", [("v2-0-0-x", "y")])["v2-0-0-x", "y"]
    other = names.deployments("a-v1-0-0", "v2.0.0", [("x", "y")])["x", "y"]
    assert one == "a-v1-0-0-v2-0-0-x-y"
    assert other != one


@given(PRODUCT, VERSION, NAME, NAME)
def test_a_service_may_be_named_so_on_every_cluster(product: str, version: str, workflow: str, process: str) -> None:
    """DNS-1035, which begins with a letter, before Kubernetes 1.36; a process's Service is named as its Deployment."""
    (name,) = names.deployments(product, version, [(workflow, process)]).values()
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name)


def test_a_product_that_begins_with_a_digit_meets_no_other() -> None:
    one = names.deployments("3d", "v1.0.0", [("x", "y")])["x", "y"]
    assert re.fullmatch(r"kai-3d-v1-0-0-x-y-[0-9a-f]{8}", one)
    assert names.deployments("kai-3d", "v1.0.0", [("x", "y")])["x", "y"] == "kai-3d-v1-0-0-x-y"


def test_a_host_that_is_short_enough_is_kais() -> None:
    assert names.published_host("shop-serve-grpc", "kai.example.com") == "shop-serve-grpc.kai.example.com"
    assert len(names.published_host("x" * 64, "d").partition(".")[0]) == 63


@given(PRODUCT, st.one_of(VERSION, st.just(LONG)), NAME, NAME)
def test_every_name_fits_what_takes_it(product: str, version: str, workflow: str, process: str) -> None:
    assert len(names.dag_id(product, workflow, version)) <= 250
    assert all(len(tag) <= 100 for tag in names.tags(product, version, "training", []))
    assert len(names.live_stream(product, version, workflow)) <= 255
    assert len(f"OBJ_{names.object_store(product, version, workflow, process, 'workflow')}") <= 255
    assert len(f"KV_{names.process_bucket(product, version, workflow, process)}") <= 255
    assert len(names.label(version)) <= 63


Make = Callable[[str], str]


@pytest.mark.parametrize(
    "make",
    [
        lambda version: names.dag_id("shop", "train", version),
        lambda version: names.live_stream("shop", version, "train"),
        lambda version: names.process_bucket("shop", version, "train", "pick"),
        lambda version: names.object_store("shop", version, "train", "models", "product"),
        names.label,
    ],
)
def test_shortened_names_stay_apart(make: Make) -> None:
    assert make(LONG) != make(f"{LONG}1")


def test_a_dag_id_bears_the_version_only_where_it_is_asked_to() -> None:
    assert names.dag_id("shop", "train", None) == "shop.train"
    assert names.dag_id("shop", "train", "v1.0.0") == "shop.train.v1.0.0"


def test_tags_are_told_once() -> None:
    assert names.tags("shop", "v1.0.0", "data", ["mine", "kai", "mine"]) == (
        "kai",
        "product:shop",
        "type:data",
        "version:v1.0.0",
        "mine",
    )


# Names of the bridge.

PROCESS = NAME
CREATED = st.datetimes().map(lambda moment: moment.strftime("%Y%m%dT%H%M%S%fZ"))


def taken_by(subject: str, pattern: str) -> bool:
    """Whether a filter of NATS takes a subject in."""
    wanted, given_ = pattern.split("."), subject.split(".")
    for n, token in enumerate(wanted):
        if token == ">":
            return len(given_) > n
        if n >= len(given_) or token not in ("*", given_[n]):
            return False
    return len(wanted) == len(given_)


@given(PRODUCT, VERSION, NAME, PROCESS, PROCESS, st.integers(1, 2**63))
def test_no_subject_of_the_bridge_is_a_processes(
    product: str, version: str, workflow: str, process: str, trigger: str, sequence: int
) -> None:
    stream = names.live_stream(product, version, workflow)
    own = [
        names.groups_subject(stream, trigger),
        names.answer_subject(stream, sequence),
        names.settled_subject(stream, sequence),
    ]
    assert len(set(own)) == len(own)
    for subject in own:
        assert taken_by(subject, names.bridge_subjects(stream))
        assert taken_by(subject, names.bridge_subjects(names.Stream("*")))
        assert not any(taken_by(subject, theirs) for theirs in names.live_subjects(stream, process))
    assert not any(
        taken_by(theirs.replace(">", "x"), names.bridge_subjects(stream))
        for theirs in names.live_subjects(stream, process)
    )


@given(st.sets(st.tuples(CLOSE, CREATED), min_size=2, max_size=6))
def test_consumers_of_the_bridge_are_no_two_alike_and_no_processes(triggers: set[tuple[str, str]]) -> None:
    made = [make(*one) for one in triggers for make in (names.intake_consumer, names.groups_consumer)]
    assert len(set(made)) == 2 * len(triggers)
    assert all(re.fullmatch(r"[-A-Za-z0-9]{1,255}", one) and one.startswith("BRIDGE-") for one in made)


@given(st.sets(st.tuples(CLOSE, VERSION, CLOSE, CREATED, st.integers(1, 99)), min_size=2, max_size=6))
def test_dead_letters_are_no_two_alike(messages: set[tuple[str, str, str, str, int]]) -> None:
    subjects = {
        names.dead_letter_subject(names.live_stream(product, version, workflow), moment, sequence)
        for product, version, workflow, moment, sequence in messages
    }
    assert len(subjects) == len(messages)
    assert all(taken_by(one, f"{names.DEAD_LETTERS}.>") for one in subjects)


@given(CLOSE, VERSION, CLOSE, st.sets(st.tuples(CLOSE, VERSION, CLOSE), max_size=9), VERSION)
def test_versions_of_a_workflow_are_its_own_and_no_others(
    product: str, version: str, workflow: str, others: set[tuple[str, str, str]], other_version: str
) -> None:
    stream = names.live_stream(product, version, workflow)
    pattern = names.versions_of(stream, version)
    assert pattern.fullmatch(stream)
    assert pattern.fullmatch(names.live_stream(product, other_version, workflow))
    for other in others:
        matched = pattern.fullmatch(names.live_stream(*other)) is not None
        assert matched == ((other[0], other[2]) == (product, workflow))
    assert not pattern.fullmatch(names.run_stream(product, workflow))
    assert not pattern.fullmatch(names.DEAD_LETTERS)


def test_a_stream_whose_name_was_too_long_is_of_one_version_alone() -> None:
    stream = names.live_stream("shop", LONG, "train")
    assert not names.versions_of(stream, LONG).fullmatch(stream)
