"""``kai-airflow diff OLD NEW``: what would change, for people and for programs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kai_airflow.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).parents[2] / "dags" / "github-trainer" / "krt.yaml"
PROGRAM = [sys.executable, "-c", "import sys; from kai_airflow.cli import main; sys.exit(main())"]
LIMITS = "resourceLimits: {CPU: {request: '1'}, memory: {request: 1Gi}}"
KRT = f"""\
version: v1.0.0
description: "sells; password: hunter2"
x-airflow: {{product: shop}}
workflows:
- name: ask
  type: serving
  x-airflow: {{schedule: '0 5 * * *', timezone: Europe/Madrid}}
  processes:
  - {{name: start, type: trigger, image: 'r/start:v1', subscriptions: [end], {LIMITS}}}
  - name: end
    type: exit
    image: r/end:v1
    config: {{token: hunter2, level: "1"}}
    subscriptions: [start.a, start]
    {LIMITS}
"""
TWO = (
    KRT
    + f"""\
- name: nightly
  type: data
  x-airflow: {{schedule: '@daily'}}
  processes:
  - {{name: entry, type: trigger, image: 'r/entry:v1', {LIMITS}}}
  - {{name: last, type: exit, image: 'r/last:v1', subscriptions: [entry], {LIMITS}}}
"""
)
CHANGED = (
    KRT.replace("v1.0.0", "v1.1.0")
    .replace("Europe/Madrid", "UTC")
    .replace("hunter2, level", "hunter3, level")
    .replace('"1"}', '"2"}')
    .replace("start.a, start]", "start.b, start]")
)
TEXT = """\
shop v1.0.0 -> shop v1.1.0
  ! KAI's streams, buckets and Deployments bear the version's name: messages, objects, and what was changed in the \
buckets stay behind in those of v1.0.0

~ DAG shop.ask
    ~ start.time: 2020-01-01T00:00:00+01:00 -> 2020-01-01T00:00:00+00:00
    ~ start.timezone: Europe/Madrid -> UTC
    ~ tags: + version:v1.1.0, - version:v1.0.0
    ~ task end
        ~ config.token: another secret
        ~ config.level: 1 -> 2
    + end hears start.b
    - end hears start.a
    ! '0 5 * * *' goes by the clock of UTC instead of Europe/Madrid

NATS and Kubernetes
  - bucket key-store_shop_v1_0_0
  - bucket key-store_shop_v1_0_0_ask
  - bucket key-store_shop_v1_0_0_ask_end
  - bucket key-store_shop_v1_0_0_ask_start
  + bucket key-store_shop_v1_1_0
  + bucket key-store_shop_v1_1_0_ask
  + bucket key-store_shop_v1_1_0_ask_end
  + bucket key-store_shop_v1_1_0_ask_start
  - consumer shop_v1_0_0_ask-start-a-end
  - consumer shop_v1_0_0_ask-start-end
  + consumer shop_v1_1_0_ask-start-b-end
  + consumer shop_v1_1_0_ask-start-end
  - Deployment shop-v1-0-0-ask-end
  - Deployment shop-v1-0-0-ask-start
  + Deployment shop-v1-1-0-ask-end
  + Deployment shop-v1-1-0-ask-start
  - stream shop_v1_0_0_ask
  + stream shop_v1_1_0_ask
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], str]:
    """Writes a file; its path."""

    def written(name: str, text: str) -> str:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return str(file)

    return written


def test_people_read_what_would_change_and_what_follows(
    write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", write("old/krt.yaml", KRT), write("new/krt.yaml", CHANGED)]) == 1
    assert capsys.readouterr().out == TEXT


def test_of_a_dag_that_comes_the_gist_is_told_and_of_one_that_goes_that_it_does(
    write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = write("old.yaml", KRT), write("new.yaml", TWO)
    assert main(["diff", old, new]) == 1
    come = """
+ DAG shop.nightly
    + type: data
    + mode: batch
    + schedule: @daily
    + task entry, image r/entry:v1
    + task last, image r/last:v1

NATS"""
    assert come in capsys.readouterr().out
    assert main(["diff", new, old]) == 1
    gone = """
- DAG shop.nightly
    ! the runs so far stay in Airflow under shop.nightly, and no new ones start there; let active ones end first

NATS"""
    assert gone in capsys.readouterr().out


def test_tasks_come_go_and_are_renamed(write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]) -> None:
    more = f"  - {{name: more, type: exit, image: 'r/more:v1', subscriptions: [start], {LIMITS}}}\n"
    renamed = KRT.replace("name: start", "name: entry").replace("start.a, start]", "entry.a, entry]")
    assert main(["diff", write("old.yaml", KRT + more), write("new.yaml", renamed)]) == 1
    dag = capsys.readouterr().out.split("\n\n")[1]
    assert dag.splitlines() == [
        "~ DAG shop.ask",
        "    ~ task start -> entry",
        "    - task more",
        "    - more hears entry",
        "    ! earlier runs keep the tries and logs of start and more, by that name",
    ]
    assert main(["diff", write("old.yaml", KRT), write("new.yaml", KRT + more)]) == 1
    assert "    + task more, image r/more:v1\n    + more hears start\n" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_would_change_is_0(
    write: Callable[[str, str], str], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write("a/krt.yaml", KRT)
    for other in (file, write("b/krt.yaml", KRT)):
        assert main(["diff", "--format", form, file, other]) == 0
        said = capsys.readouterr().out
        if form == "text":
            assert said == "shop v1.0.0\nnothing would change\n"
        else:
            assert json.loads(said)["changed"] is False


def test_programs_read_one_object(write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = write("old.yaml", KRT), write("new.yaml", CHANGED)
    assert main(["diff", "--format", "json", old, new]) == 1
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["old", "new", "changed", "changes", "consequences", "dags", "names"]
    assert found["old"] == {"file": old, "product": "shop", "version": "v1.0.0"}
    assert found["new"] == {"file": new, "product": "shop", "version": "v1.1.0"}
    assert found["changed"] is True
    assert found["changes"] == [{"path": ["version"], "old": "v1.0.0", "new": "v1.1.0"}]
    (dag,) = found["dags"]
    assert (dag["change"], dag["old_id"], dag["new_id"]) == ("changed", "shop.ask", "shop.ask")
    assert {"path": ["start", "timezone"], "old": "Europe/Madrid", "new": "UTC"} in dag["changes"]
    (task,) = dag["tasks"]
    assert (task["change"], task["old_name"], task["new_name"]) == ("changed", "end", "end")
    assert {"path": ["config", "token"], "old": "***", "new": "***"} in task["changes"]
    assert dag["edges"][0] == {"change": "added", "process": "end", "subscription": "start.b", "reply": False}
    assert [consequence["code"] for consequence in dag["consequences"]] == ["other-clock"]
    assert {"change": "added", "kind": "stream", "name": "shop_v1_1_0_ask"} in found["names"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_shown(write: Callable[[str, str], str], form: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["diff", "--format", form, write("old.yaml", KRT), write("new.yaml", TWO.replace("hunter2", "hunter3"))])
    main(["diff", "--format", form, write("old.yaml", KRT), str(EXAMPLE)])
    said = capsys.readouterr().out
    assert "hunter" not in said
    assert "***" in said


@pytest.mark.parametrize("form", ["text", "json"])
def test_of_invalid_files_it_prints_what_validate_prints_and_gives_2(
    write: Callable[[str, str], str], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = write("bad.yaml", "version: 1\n"), write("good.yaml", KRT)
    assert main(["validate", "--format", form, bad]) == 1
    expected = capsys.readouterr()
    for files in ((bad, good), (good, bad), (bad, bad)):
        assert main(["diff", "--format", form, *files]) == 2
        assert capsys.readouterr() == expected
    assert main(["validate", "--format", form, bad, good + "!"]) == 1
    expected = capsys.readouterr()
    assert main(["diff", "--format", form, bad, good + "!"]) == 2
    assert capsys.readouterr() == expected


def test_what_cannot_be_read_is_2(
    write: Callable[[str, str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, large = write("good.yaml", KRT), write("large.yaml", "#" * 2_000_000)
    os.mkfifo(tmp_path / "fifo")
    for other, said in (
        (str(tmp_path / "none.yaml"), "[unreadable-file]"),
        (str(tmp_path / "fifo"), "[unreadable-file]"),
        (large, "[too-large]"),
    ):
        assert main(["diff", good, other]) == 2
        assert said in capsys.readouterr().out
    assert main(["diff", str(tmp_path), good]) == 2
    assert capsys.readouterr().err == f"kai-airflow: {tmp_path} is a folder: name a krt.yaml in it\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
def test_a_file_that_may_not_be_read_is_2(write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]) -> None:
    good, closed = write("good.yaml", KRT), write("closed.yaml", KRT)
    Path(closed).chmod(0)
    assert main(["diff", good, closed]) == 2
    assert "[unreadable-file]" in capsys.readouterr().out


def test_two_products_that_their_folders_name_are_told_so(
    write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    unnamed = KRT.replace("x-airflow: {product: shop}\n", "")
    assert main(["diff", write("before/krt.yaml", unnamed), write("after/krt.yaml", unnamed)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "before v1.0.0 -> after v1.0.0"
    assert "x-airflow.product names a product, else its file or folder" in lines[1]
    assert "~ DAG before.ask -> after.ask" in lines


def test_what_a_krt_says_cannot_steer_the_terminal(
    write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = KRT.replace("sells; password: hunter2", r"a\e[2J\r\nb\u202e").replace('"1"', r'"\e[2J\n- DAG x"')
    assert main(["diff", write("old.yaml", KRT), write("new.yaml", hostile)]) == 1
    said = capsys.readouterr().out
    assert "-> a\\x1b[2J\\r\\nb\\u202e\n" in said
    assert "config.level: 1 -> \\x1b[2J\\n- DAG x\n" in said


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_on_a_terminal_unless_refused(
    write: Callable[[str, str], str], environment: dict[str, str], coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    variables = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | environment
    command = [*PROGRAM, "diff", write("old.yaml", KRT), write("new.yaml", TWO)]
    try:
        subprocess.run(command, check=False, stdout=theirs, env=variables)
        printed = os.read(ours, 100_000)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (b"\x1b[32m+ DAG shop.nightly\x1b[0m" in printed) is coloured
    assert b"+ DAG shop.nightly" in printed


def test_a_reader_that_has_seen_enough_is_no_error(write: Callable[[str, str], str]) -> None:
    command = [*PROGRAM, "diff", write("old.yaml", KRT), write("new.yaml", TWO)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.wait(20), process.stderr.read()) == (141, b"")


def test_it_needs_no_airflow(write: Callable[[str, str], str]) -> None:
    program = "import sys; from kai_airflow.cli import main; main(); sys.exit('airflow' in sys.modules)"
    command = [sys.executable, "-c", program, "diff", write("old.yaml", KRT), write("new.yaml", TWO)]
    subprocess.run(command, check=True, capture_output=True)
