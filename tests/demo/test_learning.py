"""What the example computes."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from kai_airflow.demo.event import expected, push_event
from kai_airflow.demo.learning import Json, compare, split, train
from kai_airflow.messaging.codec import pack, unpack


def event(**changes: list[str]) -> Json:
    return {"body": {"commits": [changes]}}


def test_the_result_of_the_sample_event_is_known() -> None:
    """The literal guards against a change of the mathematics that nobody meant."""
    assert expected(push_event(7)) == {"winner": "go", "scores": {"go": 0.666667, "py": 0.461538}}
    assert expected(push_event(8)) == {"winner": "py", "scores": {"go": 0.846154, "py": 0.857143}}


def test_other_events_have_other_results() -> None:
    results = [str(expected(push_event(seed))) for seed in range(20)]
    assert len(set(results)) > 15


@pytest.mark.parametrize("seed", range(20))
def test_every_sample_event_has_files_of_both_languages(seed: int) -> None:
    jobs = split(push_event(seed))
    assert [job["language"] for job in jobs] == ["go", "py"]
    assert all(job["files"] and job["languages"] == ["go", "py"] for job in jobs)


def test_the_result_is_the_same_in_every_process() -> None:
    program = "from kai_airflow.demo.event import *; print(expected(push_event(3)))"
    assert {subprocess.check_output([sys.executable, "-c", program], text=True).strip() for _ in range(3)} == {
        str(expected(push_event(3)))
    }


def test_the_result_survives_the_way_of_a_payload() -> None:
    travelled = unpack(pack(push_event(5)))
    assert expected(travelled) == expected(push_event(5))


def test_files_are_split_by_language_and_others_left_out() -> None:
    jobs = split(event(added=["a.py", "README.md", "b.go"], modified=["c.py", "Makefile"], removed=["d.go"]))
    assert [job["files"] for job in jobs] == [{"b.go": "added"}, {"a.py": "added", "c.py": "modified"}]


def test_a_language_without_files_gets_no_job_and_the_other_knows() -> None:
    assert split(event(added=["a.py"])) == [{"language": "py", "languages": ["py"], "files": {"a.py": "added"}}]


def test_a_file_that_is_added_and_modified_is_added() -> None:
    commits = [{"added": ["a.go"]}, {"modified": ["a.go", "b.go"]}, {"added": ["b.go"]}]
    assert split({"body": {"commits": commits}})[0]["files"] == {"a.go": "added", "b.go": "modified"}


@pytest.mark.parametrize("changes", [{}, {"added": ["README.md"]}, {"added": None}])
def test_a_push_without_files_to_train_on_has_no_result(changes: dict[str, Any]) -> None:
    assert split(event(**changes)) == []
    assert expected(event(**changes)) is None


@pytest.mark.parametrize("body", [None, 1, "text", [], {}, {"commits": None}, {"commits": {}}, {"commits": [1]}])
def test_what_is_no_push_event_is_an_error(body: Json) -> None:
    for request in ({"body": body}, body):
        with pytest.raises(ValueError, match="not a GitHub push event"):
            split(request)


def test_both_models_learn_what_can_be_learned() -> None:
    """Files whose path tells whether they are new: a model that learns nothing is right about half the time."""
    files = {f"tests/unit/case_{n}.x": "added" for n in range(20)} | {f"api/v{n}.x": "modified" for n in range(20)}
    for language in ("go", "py"):
        assert train({"language": language, "languages": [language], "files": files})["accuracy"] > 0.9


def test_where_there_is_nothing_to_learn_no_model_learns() -> None:
    files = {f"api/{n:03}.x": ("added", "modified")[n % 2] for n in range(60)}
    for language in ("go", "py"):
        assert train({"language": language, "languages": [language], "files": files})["accuracy"] < 0.75


def test_one_file_is_enough_to_train() -> None:
    assert 0 <= train({"language": "go", "languages": ["go"], "files": {"a.go": "added"}})["accuracy"] <= 1


def test_a_large_push_is_trained_in_less_than_a_second() -> None:
    files = {f"api/v{n}/handler.go": ("added", "modified")[n % 2] for n in range(300)}
    begin = time.process_time()
    train({"language": "go", "languages": ["go"], "files": files})
    assert time.process_time() - begin < 1


def test_the_more_accurate_wins_and_of_equals_the_first() -> None:
    better = [{"language": "py", "accuracy": 0.9}, {"language": "go", "accuracy": 0.8}]
    assert compare(better) == {"winner": "py", "scores": {"go": 0.8, "py": 0.9}}
    equal = [{"language": "py", "accuracy": 1}, {"language": "go", "accuracy": 1}]
    assert compare(equal)["winner"] == "go"
