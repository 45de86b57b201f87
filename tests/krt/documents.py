"""Random valid documents, as hypothesis makes them: plain data, to be written as YAML or JSON."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,6}[a-z0-9])?", fullmatch=True)
CHANNELS = st.sampled_from(["", "", "go", "hot.new", "größe"])
TEXTS = st.dictionaries(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8),
    st.text(st.characters(exclude_categories=["C"]), max_size=12),
    max_size=3,
)
QUANTITIES = st.sampled_from(["1", "100m", "2.5", "1Gi", "64M", "1e3"])
RESOURCES = st.fixed_dictionaries({"CPU": st.fixed_dictionaries({"request": QUANTITIES})}).flatmap(
    lambda found: QUANTITIES.map(lambda memory: {**found, "memory": {"request": memory, "limit": memory}})
)
IMAGES = st.sampled_from(["i", "registry.example.com/a/b:v1", "localhost:5000/x@sha256:" + "0" * 64])
TASK_SAYS = st.fixed_dictionaries(
    {},
    optional={
        "retries": st.integers(0, 9),
        "retry_delay": st.floats(0, 99),
        "start_timeout": st.floats(0.5, 99),
        "on_message_error": st.sampled_from(["fail", "continue"]),
        "deferrable": st.booleans(),
        "pool": NAMES,
        "priority_weight": st.integers(-9, 9),
    },
)
DAG_SAYS = st.fixed_dictionaries(
    {},
    optional={
        "schedule": st.sampled_from(["@daily", "0 6 * * 1-5", "*/5 * * * *"]),
        "timezone": st.sampled_from(["UTC", "Europe/Madrid", "Asia/Kolkata"]),
        "start_date": st.dates().filter(lambda day: 1970 <= day.year <= 9000).map(str),
        "catchup": st.booleans(),
        "max_active_runs": st.integers(1, 9),
        "messages_per_run": st.integers(1, 9),
    },
)


@st.composite
def workflows(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """One workflow: triggers, tasks that hear what stands before them, exits; sometimes it lives on, in circles."""
    names = draw(st.lists(NAMES, min_size=2, max_size=9, unique=True))
    triggers = draw(st.integers(1, len(names) - 1))
    exits = draw(st.integers(1, len(names) - triggers))
    streams = draw(st.booleans())
    kinds = ["trigger"] * triggers + ["task"] * (len(names) - triggers - exits) + ["exit"] * exits
    processes = []
    for position, (process, kind) in enumerate(zip(names, kinds, strict=True)):
        heard = _may_hear(names, kinds, position, streams=streams)
        processes.append(draw(_processes(process, kind, heard)))
    says = draw(DAG_SAYS) | {"mode": "stream" if streams else "batch"}
    order = draw(st.permutations(processes))
    kind = draw(st.sampled_from(["data", "training", "feedback", "serving"]))
    return {"name": name, "type": kind, "config": draw(TEXTS), "x-airflow": says, "processes": order}


def _may_hear(names: list[str], kinds: list[str], position: int, *, streams: bool) -> list[str]:
    if kinds[position] == "trigger":
        return [name for name, kind in zip(names, kinds, strict=True) if kind == "exit"]
    reach = len(names) if streams and kinds[position] == "task" else position
    known = zip(names[:reach], kinds[:reach], strict=True)
    return [name for name, kind in known if kind != "exit" and name != names[position]]


@st.composite
def _processes(draw: st.DrawFn, name: str, kind: str, heard: list[str]) -> dict[str, Any]:
    least = 0 if kind == "trigger" else 1
    subscriptions = draw(
        st.lists(
            st.tuples(st.sampled_from(heard), CHANNELS).map(lambda pair: ".".join(part for part in pair if part)),
            min_size=least,
            max_size=4,
            unique=True,
        )
    )
    return {
        "name": name,
        "type": kind,
        "image": draw(IMAGES),
        "config": draw(TEXTS),
        "replicas": draw(st.integers(1, 4)),
        "gpu": draw(st.booleans()),
        "subscriptions": subscriptions,
        "resourceLimits": draw(RESOURCES),
        "x-airflow": draw(TASK_SAYS),
    }


@st.composite
def products(draw: st.DrawFn) -> dict[str, Any]:
    """A whole document."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    numbers = draw(st.tuples(*[st.integers(0, 99)] * 3))
    return {
        "version": "v" + ".".join(map(str, numbers)),
        "description": draw(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=30)),
        "config": draw(TEXTS),
        "x-airflow": {"product": draw(NAMES), "version_in_dag_id": draw(st.booleans())},
        "workflows": [draw(workflows(name)) for name in names],
    }
