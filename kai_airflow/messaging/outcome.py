"""How a try ended: which of its requests are done with, and which of its outputs count. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kai_airflow.messaging.tries import Manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kai_airflow.messaging.feed import Input, Share
    from kai_airflow.messaging.outputs import Complaint, Output
    from kai_airflow.messaging.tries import Try
    from kai_airflow.plan.names import Stream


@dataclass(frozen=True)
class Outcome:
    """What counts of a try: the sources that are done with, the outputs that are theirs, and how many aren't done."""

    of: Try
    done: frozenset[int]
    bad: int
    outputs: tuple[Output, ...]
    complaints: tuple[Complaint, ...]


def settle(share: Share, outputs: Sequence[Output], acked: int | None, *, errors_travel: bool = False) -> Outcome:
    """The outcome of a try.

    A try that went well counts as it is, whatever it published. Of one that didn't, the requests that ended well
    count, if every output bears the id of a fed request; otherwise nobody can tell what belongs to what, and the try
    is discarded (docs/architecture.md, "Retry, clear, crash").

    :param acked: the sequence up to which the process had acked its input when the try broke; None: it didn't break
    :param errors_travel: messages of type ERROR are results like others (``on_message_error: continue``)
    """
    wrong = [o for o in outputs if o.complaint and not (errors_travel and o.readable)]
    undone = {o.request_id for o in wrong} | _unfinished(share.inputs, outputs, acked)
    known = {one.request_id for one in share.inputs}
    if undone and not all(o.request_id in known for o in outputs):
        undone = known
    done = [one.source for one in share.inputs if one.request_id not in undone]
    return Outcome(
        of=share.of,
        done=frozenset(done),
        bad=share.count - len(done),
        outputs=() if undone == known else tuple(o for o in outputs if o.request_id not in undone),
        complaints=tuple(o.complaint for o in wrong if o.complaint),
    )


def _unfinished(inputs: Sequence[Input], outputs: Sequence[Output], acked: int | None) -> set[str]:
    if acked is None:
        return set()
    unfinished = {one.request_id for one in inputs if one.sequence > acked}
    # The SDKs ack before they publish an error: of the last ack alone, a process that died may owe one.
    answered = {o.request_id for o in outputs}
    owing = [one.request_id for one in inputs if one.sequence <= acked][-1:]
    return unfinished.union(set(owing) - answered)


def manifest(stream: Stream, process: str, outcomes: Collection[Outcome]) -> Manifest:
    """What a task leaves: all that counts of its tries."""
    channels: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for outcome in outcomes:
        for output in outcome.outputs:
            channels[output.channel][outcome.of.id].append(output.sequence)
    good = sum(len(outcome.done) for outcome in outcomes)
    bad = sum(outcome.bad for outcome in outcomes)
    return Manifest(
        stream=stream,
        process=process,
        fed=good + bad,
        good=good,
        bad=bad,
        channels={name: {i: tuple(seqs) for i, seqs in tries.items()} for name, tries in channels.items()},
    )
