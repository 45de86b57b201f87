"""What a task was fed and what it published, as its manifest and those of its upstream say. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kai_airflow.plan import Process
    from kai_airflow.ui.shelf import Left

LONGEST = 2000  # characters of sequences


@dataclass(frozen=True)
class Channel:
    """Messages of a process on a channel ("" is its bare subject): how many, and their sequences, as ``1-3,7``."""

    process: str
    name: str
    count: int
    sequences: str


@dataclass(frozen=True)
class Manifest:
    """As much of :class:`kai_airflow.messaging.tries.Manifest` as is shown, its ranges as they are written.

    ``latency`` in seconds, of a long-lived process.
    """

    stream: str
    fed: int
    good: int
    bad: int
    channels: tuple[Channel, ...]
    latency: float | None


@dataclass(frozen=True)
class Messages:
    """What goes into a task, and what came of it; ``manifest`` is None where it has left none (yet).

    ``fed`` is None where nobody knows what feeds it.
    """

    state: str | None
    manifest: Manifest | None
    fed: tuple[Channel, ...] | None


def messages(tasks: Mapping[str, Left], task_id: str, process: Process | None) -> Messages:
    """Those of one task of a run.

    :param process: what the KRT says of it; None where it can't be read
    """
    own = tasks[task_id]
    if process is None:
        return Messages(own.state, _manifest(own.manifest), None)
    fed = []
    for feed in process.feeds:
        left = tasks.get(feed.process)
        upstream = _manifest(left.manifest) if left and left.state == "success" else None
        fed += [one for one in (upstream.channels if upstream else ()) if one.name == feed.channel]
    return Messages(own.state, _manifest(own.manifest), tuple(fed))


def _manifest(said: Any) -> Manifest | None:
    """None also for what isn't one: anybody may write an XCom."""
    try:
        channels = [_channel(said["process"], *item) for item in sorted(said["channels"].items())]
        fed, good, bad = (int(said[key]) for key in ("fed", "good", "bad"))
        latency = None if said.get("latency") is None else float(said["latency"])
        return Manifest(str(said["stream"]), fed, good, bad, tuple(channels), latency)
    except (TypeError, ValueError, KeyError, AttributeError):
        return None


def _channel(process: str, name: str, said: Mapping[str, Any]) -> Channel:
    text = ",".join(map(str, said["sequences"].values()))
    return Channel(process, name, int(said["count"]), text if len(text) <= LONGEST else f"{text[:LONGEST]}…")
