"""Hostile input: bounded in time and memory, a clear error, and never a crash."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kai_airflow.krt import MAX_BYTES, check, mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.krt.conftest import Krt

PATH = PurePath("shop/krt.yaml")
EXAMPLE = (Path(__file__).parents[2] / "dags/github-trainer/krt.yaml").read_bytes()
SECONDS = 10.0  # of the processor; about 1 on an idle machine, for ever where a bound is missing
MEGABYTES = 200
HEAD = b"version: v1.0.0\ndescription: x\nworkflows:\n  - name: w\n    type: data\n    processes:\n"
PROCESS = (
    b"      - {name: p%d, type: task, image: i, resourceLimits: {CPU: {request: 1}, memory: {request: 1M}}, "
    b"subscriptions: [%s]}\n"
)
TASKS = 3_500
LETTERS = [bytes([97 + i]) for i in range(20)]
MEASURE = """
import json, sys, time
from pathlib import Path, PurePath
from kai_airflow.krt import check
text = sys.stdin.buffer.read()
start = time.process_time()
report = check(text, PurePath("shop/krt.yaml"))
seconds = time.process_time() - start
# Not ru_maxrss, which begins with the memory of the process that started this one.
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps([seconds, peak, len(report.errors), [error.code for error in report.errors[:3]]]))
"""


def chain(count: int) -> bytes:
    """A list that holds a list that holds a list, by aliases alone."""
    return b"- &a0 [x]\n" + b"".join(b"- &a%d [*a%d]\n" % (i + 1, i) for i in range(count))


def bomb(first: bytes, line: bytes) -> bytes:
    """Twenty values, each of which holds the one before it nine times."""
    lines = (line % (name, name, b",".join([b"*" + last] * 9)) for last, name in itertools.pairwise(LETTERS))
    return first + b"".join(lines)


def tasks(subscriptions: Callable[[int], bytes]) -> bytes:
    """Thousands of tasks, and what each subscribes to."""
    return HEAD + b"".join(PROCESS % (i, subscriptions(i)) for i in range(TASKS))


def workflows(extension: bytes, count: int) -> bytes:
    """Thousands of workflows, and the extension of each, with its number where it has a place for one."""
    head = HEAD.partition(b"  - name")[0]
    said = (extension % i if b"%d" in extension else extension for i in range(1, count + 1))
    return head + b"".join(b"  - {x-airflow: %s}\n" % one for one in said)


def repeated(piece: bytes) -> bytes:
    return piece * (MAX_BYTES // len(piece))


FLOODS = {
    "a bomb of aliases": (bomb(b"a: &a [x,x,x,x,x,x,x,x,x]\n", b"%s: &%s [%s]\n"), "too-many-values"),
    "a bomb of merges": (bomb(b"a: &a {k: v}\n", b"%s: &%s {<<: [%s]}\n"), "too-many-values"),
    "a bomb in KAI's own lists": (
        b"p: &p {name: a}\nps: &ps [" + b"*p," * 999 + b"*p]\nworkflows: [" + b"{processes: *ps}," * 200 + b"{}]",
        "too-many-values",
    ),
    "a chain of aliases": (chain(40_000), "too-deep"),
    "brackets": (repeated(b"["), "too-deep"),
    "braces": (repeated(b"{a: "), "too-deep"),
    "dashes": (repeated(b"- "), "too-deep"),
    "question marks": (repeated(b"? "), "too-deep"),
    "indentation": (b"\n".join(b" " * i + b"a:" for i in range(1000)), "too-deep"),
    "many small values": (b"[" + b"a," * (MAX_BYTES // 2 - 10) + b"a]", "too-many-values"),
    "many keys": (b"".join(b"k%d: 1\n" % i for i in range(90_000)), "too-many-values"),
    "directives": (b"".join(b"%%TAG !a%d! tag:x\n" % i for i in range(50_000)) + b"---\n1", "too-many-values"),
    "empty workflows": (b"workflows: [" + b"{}," * 90_000 + b"{}]", "too-many-values"),
    "workflows of a wrong type": (b"workflows: [" + b"1," * 90_000 + b"1]", "wrong-type"),
    "duplicate keys": (b"a: 1\n" * 45_000, "duplicate-key"),
    "fields of the extension": (
        b"x-airflow: {" + b",".join(b"f%d: v" % i for i in range(45_000)) + b"}",
        "unknown-field",
    ),
    "near misses": (HEAD + b"      - {" + b",".join(b"nam%d: 1" % i for i in range(45_000)) + b"}\n", ""),
    "unknown processes": (tasks(lambda i: b"q%d,r,s,t,u" % i), "not-enough-processes"),
    "cycles": (
        tasks(lambda i: b"p%d,p%d,p%d" % ((i + 1) % TASKS, (i - 1) % TASKS, i * 7 % TASKS)),
        "not-enough-processes",
    ),
    "one long cycle": (tasks(lambda i: b"p%d" % ((i + 1) % TASKS)), "not-enough-processes"),
    "a long key above many values": (
        b"? " + b"k" * (MAX_BYTES // 2) + b"\n: " + b"[" * 50 + b"[]," * 40_000 + b"]" * 50,
        "missing-field",
    ),
    "a long name": (b"version: " + b"a" * (MAX_BYTES - 20), "missing-field"),
    "digits": (b"workflows: [{processes: [{replicas: " + b"9" * (MAX_BYTES - 100) + b"}]}]", "missing-field"),
    "an open quote": (b'a: "' + b"x" * (MAX_BYTES - 10), "yaml-syntax"),
    "comments": (repeated(b"#\n"), "empty-file"),
    "schedules": (workflows(b"{schedule: 2 1 31 %d-12 5}", 20_000), "too-many-values"),
    "time zones": (workflows(b"{timezone: z%d}", 7_000), "missing-field"),
    "cron triggers": (
        HEAD + b"".join(b"      - {type: trigger, config: {cron: 0 2 %d 31 6 ?}}\n" % (i % 24) for i in range(7_000)),
        "",
    ),
    "pods": (
        HEAD + b"      - {x-airflow: {pod: {spec: {containers: [{imag: x}]}, spek: y}}}\n" * 4_000,
        "unknown-field",
    ),
    "roles": (
        HEAD.replace(b"    type", b"    x-airflow: {access_control: {%s}}\n    type")
        % b"".join(b"r%d: [x]," % i for i in range(30_000)),
        "",
    ),
    "a long text of many names": (
        b"x: &c {k: 'x://a @"
        + b" a" * 250_000
        + b"'}\n"
        + HEAD
        + b"".join(b"      - {name: p%d, type: exit, config: *c}\n" % i for i in range(300)),
        "too-many-values",
    ),
    "a long channel of many processes": (
        b"x: &c p."
        + b"a" * 500_000
        + b".\n"
        + HEAD
        + b"".join(b"      - {name: p%d, type: exit, subscriptions: [*c]}\n" % i for i in range(1_000)),
        "too-many-values",
    ),
    "one cron of many triggers": (
        HEAD
        + b"      - &t {type: trigger, config: {cron: '%s* * * * * *'}}\n" % (b"*," * 95)
        + b"      - *t\n" * 3_000,
        "",
    ),
    "documents": (repeated(b"---\n"), "empty-file"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_an_error_in_bounded_time_and_memory(name: str) -> None:
    text, code = FLOODS[name]
    assert len(text) <= MAX_BYTES
    measured = subprocess.run([sys.executable, "-c", MEASURE], input=text, capture_output=True, check=True)
    seconds, peak, errors, codes = json.loads(measured.stdout)
    assert seconds < SECONDS
    assert peak < MEGABYTES
    assert 1 <= errors <= 1000
    assert code in ("", *codes)


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_masked_line_by_line(name: str) -> None:
    text = FLOODS[name][0][: 1 << 18].decode()
    assert len(mask(text).splitlines()) == len(text.splitlines())


def test_a_large_ordinary_krt_is_read(krt: Krt) -> None:
    processes = (b"hook" if i == 0 else b"p%d" % (i - 1) for i in range(2_500))
    text = krt.text.encode() + b"".join(PROCESS % (i, heard) for i, heard in enumerate(processes))
    assert len(check(text, PATH).require().workflows[0].processes) == 2_504


def test_more_than_a_mebibyte_is_too_large(krt: Krt) -> None:
    largest = krt.text.encode().ljust(MAX_BYTES, b"\n")
    assert check(largest, PATH).valid
    (error,) = check(largest + b"\n", PATH).errors
    assert error.code == "too-large"


def test_messages_and_locations_stay_short_and_on_one_line(krt: Krt) -> None:
    long = "x" * 10_000
    report = krt.change("[pack]", f'[pack, "{long}", "a\\nb\\e[31m", pack, "pack.{long}\\n"]').check()
    assert len(report.errors) == 4
    for error in report.errors:
        assert len(str(error)) < 1200
        assert str(error).isprintable()


def test_nesting_that_no_krt_needs_but_yaml_allows_is_read_up_to_a_limit(krt: Krt) -> None:
    assert krt.change("description: A shop", f"description: A shop\nx-own: {'[' * 50}{']' * 50}").check().valid
    deep = krt.change("description: A shop", f"description: A shop\nx-own: {'[' * 80}{']' * 80}")
    error = deep.error()
    assert (error.code, error.line) == ("too-deep", 3)


paths = st.sampled_from(["shop/krt.yaml", "krt.yaml", "a.krt.yaml", "", "Ä/krt.yaml"]).map(PurePath)


def assert_sound(text: bytes, path: PurePath) -> None:
    """A report is either valid or names errors, and all that it says is fit to be shown."""
    report = check(text, path)
    assert report.valid == (not report.errors)
    for issue in (*report.errors, *report.warnings):
        assert issue.code
        assert issue.location.startswith("krt")
        assert (issue.line is None) == (issue.column is None)
        assert str(issue).isprintable()


@given(st.binary(max_size=400), paths)
@example(b"\xff\xfe\x00\xd8", PurePath("shop/krt.yaml"))
@example(b"? &a\n: *a", PurePath("shop/krt.yaml"))
@settings(max_examples=500, deadline=None)
def test_bytes_at_random_never_raise(text: bytes, path: PurePath) -> None:
    assert_sound(text, path)


@given(st.text(alphabet="ab:-?&*!|>'\"%@`{}[],#<~ \n\t\\0.é\u2028\ufeff", max_size=60), paths)
@settings(max_examples=1500, deadline=None)
def test_the_signs_of_yaml_at_random_never_raise_and_keep_their_lines_when_masked(text: str, path: PurePath) -> None:
    assert_sound(text.encode(), path)
    assert len(mask(text).split("\n")) == len(text.split("\n"))


pieces = st.one_of(
    st.binary(max_size=4),
    st.sampled_from([b"&a", b"*a", b"<<: *a", b"[", b"{", b"}", b": ", b"- ", b"!!x ", b"|\n", b"\t", b"null"]),
    st.sampled_from([b"'", b'"', b"\n", b"1", b"\xff"]),
)


@given(st.lists(st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 12), pieces), min_size=1, max_size=6))
@settings(max_examples=1500, deadline=None)
def test_randomly_damaged_valid_documents_never_raise(damages: list[tuple[int, int, bytes]]) -> None:
    text = EXAMPLE
    for at, removed, piece in damages:
        text = text[:at] + piece + text[at + removed :]
    assert_sound(text, PATH)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_text_with_lone_surrogates_and_all_else_is_masked_without_an_error(text: str) -> None:
    mask(text + "\ud800")
    mask(text)


def test_strange_values_in_every_field_never_raise(krt: Krt) -> None:
    strange = [
        "~",
        "''",
        "[]",
        "{}",
        "[[]]",
        "{a: {b: c}}",
        "-1",
        "1e999",
        "'\\'",
        "!!x y",
        "*z",
        "&z x",
        "0x",
        "é",
        "[~]",
        "{~: ~}",
    ]
    for line in [line for line in krt.text.splitlines() if ":" in line]:
        for value in strange:
            text = krt.text.replace(line, f"{line.partition(':')[0]}: {value}", 1)
            assert_sound(text.encode(), PATH)


SIGNS = (*"[]{}'\"#! a1\n", "- ", ": ", "? ", ", ", "&a ", "*a ", "<<: ", "|\n", ">\n", "---\n", "    ")
WORDS = ("version: v1.0.0", "workflows:", "processes:", "x-airflow:", "schedule:", "pod:", "config:", "type: task")
RANDOM = """
import json, random, sys, time
from pathlib import Path, PurePath
from kai_airflow.krt import MAX_BYTES, check
chance, pieces = random.Random(int(sys.argv[1])), json.loads(sys.argv[2])
worst = 0.0
for _ in range(30):
    size = int(MAX_BYTES ** chance.random())
    text = "".join(chance.choices(pieces, k=size // 3)).encode()[:MAX_BYTES]
    text = chance.choice([text, chance.randbytes(size)])
    start = time.process_time()
    check(text, PurePath("shop/krt.yaml"))
    worst = max(worst, time.process_time() - start)
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps([worst, peak]))
"""


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_stay_within_two_seconds_and_two_hundred_megabytes(seed: int) -> None:
    command = [sys.executable, "-c", RANDOM, str(seed), json.dumps([*SIGNS, *WORDS])]
    measured = subprocess.run(command, capture_output=True, check=True)
    worst, peak = json.loads(measured.stdout)
    assert worst < 2
    assert peak < MEGABYTES
