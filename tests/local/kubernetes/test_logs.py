"""Reading and following what a container prints."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from kubernetes.client import ApiException

if TYPE_CHECKING:
    from tests.local.kubernetes.conftest import Kube

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")
TEN = "for n in range(10): print('line', n)"
WAIT_FOR_TERM = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('last')))
print('first')
while True: signal.pause()
"""


def test_both_streams_are_one_in_the_order_of_printing(kube: Kube) -> None:
    code = "import sys\nfor n in range(50): print(n, file=[sys.stdout, sys.stderr][n % 2], flush=True)"
    assert kube.run(code) == "".join(f"{n}\n" for n in range(50))


def test_a_last_line_without_a_newline_is_kept_as_it_is(kube: Kube) -> None:
    assert kube.run("print('a\\nb', end='')") == "a\nb"
    assert kube.log(tail_lines=1) == "b"


def test_bytes_that_are_no_text_pass(kube: Kube) -> None:
    kube.create("import sys; sys.stdout.buffer.write(b'\\xff\\x00\\n')")
    kube.ended()
    assert kube.http.get(f"{kube.url}/pods/p/log").content == b"\xff\x00\n"


def test_a_line_of_two_mebibytes_is_broken_not_lost(kube: Kube) -> None:
    log = kube.run("print('x' * (2 << 20))")
    assert len(log.replace("\n", "")) == 2 << 20
    assert len(log.splitlines()) <= 3


def test_each_line_has_its_time_where_that_is_asked_for(kube: Kube) -> None:
    kube.run(TEN)
    lines = kube.log(timestamps=True).splitlines()
    assert all(STAMP.match(line) for line in lines)
    assert [STAMP.sub("", line) for line in lines] == [f"line {n}" for n in range(10)]


@pytest.mark.parametrize("count", [0, 1, 3, 10, 11])
def test_the_last_lines(kube: Kube, count: int) -> None:
    kube.run(TEN)
    assert kube.log(tail_lines=count) == "".join(f"line {n}\n" for n in range(10 - min(count, 10), 10))


def test_the_last_lines_of_a_long_log(kube: Kube) -> None:
    """More than one block is read from the end."""
    kube.run("for n in range(40000): print('line', n)")
    assert kube.log(tail_lines=20000).splitlines() == [f"line {n}" for n in range(20000, 40000)]
    assert len(kube.log().splitlines()) == 40000


def test_lines_since_a_time(kube: Kube) -> None:
    kube.run("import time\nprint('old', flush=True); time.sleep(1.1); print('new')")
    old, new = (line.split()[0] for line in kube.log(timestamps=True).splitlines())
    assert kube.http.get(f"{kube.url}/pods/p/log", params={"sinceTime": new}).text == "new\n"
    assert kube.http.get(f"{kube.url}/pods/p/log", params={"sinceTime": old}).text == "old\nnew\n"
    assert kube.http.get(f"{kube.url}/pods/p/log", params={"sinceTime": "0001-01-01T00:00:00Z"}).text == "old\nnew\n"
    age = datetime.now(UTC) - datetime.fromisoformat(new[:26] + "+00:00")
    assert kube.log(since_seconds=int(age / timedelta(seconds=1)) + 1).endswith("new\n")
    assert kube.log(since_seconds=2**62) == "old\nnew\n"


def test_at_most_so_many_bytes(kube: Kube) -> None:
    kube.run(TEN)
    assert kube.log(limit_bytes=9) == "line 0\nli"


def test_following_gives_lines_as_they_come_and_ends_with_the_container(kube: Kube) -> None:
    kube.create(WAIT_FOR_TERM)
    kube.running()
    with kube.http.stream("GET", f"{kube.url}/pods/p/log", params={"follow": "true"}) as response:
        lines = response.iter_lines()
        assert next(lines) == "first"
        kube.delete()
        assert list(lines) == ["last"]
    kube.gone()


def test_when_following_ends_the_state_has_ended_too(kube: Kube) -> None:
    """PodManager logs a warning and reads again otherwise."""
    kube.create("import sys; sys.stdin.read(); print('over')")
    kube.until(lambda pod: pod.status.phase != "Pending")
    assert kube.log(follow=True) == "over\n"
    assert kube.core.read_namespaced_pod("p", kube.namespace).status.phase == "Succeeded"


def test_a_container_that_waits_to_start_has_no_log_yet(kube: Kube) -> None:
    volumes = [{"name": "v", "secret": {"secretName": "absent"}}]
    kube.create("", pod={"volumes": volumes})
    with pytest.raises(
        ApiException, match='container \\\\"base\\\\" in pod \\\\"p\\\\" is waiting to start: ContainerCreat'
    ) as no:
        kube.log()
    assert no.value.status == 400


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"previous": "true"}, 400),
        ({"container": "other"}, 400),
        ({"tailLines": "-1"}, 400),
        ({"tailLines": "many"}, 400),
        ({"limitBytes": "9" * 30}, 400),
        ({"sinceTime": "yesterday"}, 400),
        ({"sinceTime": "2026-01-01T00:00:00"}, 400),
        ({"sinceTime": "2026-01-01T00:00:00Z", "sinceSeconds": "1"}, 400),
        ({"follow": "maybe"}, 400),
        ({"stream": "Stderr"}, 501),
    ],
)
def test_a_log_query_that_makes_no_sense_is_refused(kube: Kube, params: dict[str, str], code: int) -> None:
    kube.run("")
    response = kube.http.get(f"{kube.url}/pods/p/log", params=params)
    assert (response.status_code, response.json()["kind"]) == (code, "Status")


def test_one_of_several_containers_must_be_named(kube: Kube) -> None:
    containers = [{"name": name, "image": "python", "args": [""]} for name in "ab"]
    kube.create("", pod={"containers": containers})
    response = kube.http.get(f"{kube.url}/pods/p/log")
    assert response.status_code == 400
    assert "choose one of: a b" in response.json()["message"]
