"""Patches alone."""

from __future__ import annotations

from typing import Any

import pytest

from kai_airflow.local.kubernetes.errors import ApiError
from kai_airflow.local.kubernetes.patch import merge, strategic


@pytest.mark.parametrize(
    ("old", "patch", "new"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"a": "foo"}, {"b": {"c": None}}, {"a": "foo", "b": {}}),
    ],
)
def test_merge_patches_as_in_rfc_7386(old: Any, patch: Any, new: Any) -> None:
    assert merge(old, patch) == new


OLD = {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "2"}]}


@pytest.mark.parametrize(
    ("patch", "new"),
    [
        ([{"name": "b", "image": "3"}], [OLD["containers"][0], {"name": "b", "image": "3"}]),
        ([{"name": "c", "image": "3"}], [*OLD["containers"], {"name": "c", "image": "3"}]),
        ([{"name": "a", "$patch": "delete"}], OLD["containers"][1:]),
        ([{"$patch": "replace"}, {"name": "c"}], [{"name": "c"}]),
        ([{"name": "b", "$patch": "replace", "args": []}], [OLD["containers"][0], {"name": "b", "args": []}]),
        (
            [{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "3"}]}],
            [
                {"name": "a", "image": "1", "env": [{"name": "X", "value": "3"}, {"name": "Y", "value": "2"}]},
                OLD["containers"][1],
            ],
        ),
    ],
)
def test_strategic_patches_merge_lists_by_their_key(patch: Any, new: Any) -> None:
    assert strategic(OLD, {"containers": patch}) == {"containers": new}


def test_other_lists_are_replaced_whole() -> None:
    assert strategic({"args": ["a"], "tolerations": [1]}, {"args": ["b"], "$setElementOrder/env": []}) == {
        "args": ["b"],
        "tolerations": [1],
    }


def test_owner_references_merge_by_uid() -> None:
    old = {"ownerReferences": [{"uid": "1", "name": "a"}]}
    patch = {"ownerReferences": [{"uid": "2", "name": "b"}, {"uid": "1", "$patch": "delete"}]}
    assert strategic(old, patch) == {"ownerReferences": [{"uid": "2", "name": "b"}]}


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ({"containers": [{"image": "no name"}]}, 400),
        ({"containers": ["text"]}, 400),
        ({"containers": [{"name": {}}]}, 400),
        ({"$patch": "other"}, 501),
        ({"$retainKeys": ["a"]}, 501),
        ({"$deleteFromPrimitiveList/finalizers": ["a"]}, 501),
    ],
)
def test_directives_and_lists_that_make_no_sense_are_refused(patch: Any, code: int) -> None:
    with pytest.raises(ApiError) as refused:
        strategic(OLD, patch)
    assert refused.value.code == code
