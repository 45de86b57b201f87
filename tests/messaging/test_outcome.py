"""What counts of a try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from kai_airflow.messaging.feed import Input, Share
from kai_airflow.messaging.outcome import manifest, settle
from kai_airflow.messaging.outputs import Complaint, Output
from kai_airflow.messaging.tries import Try
from kai_airflow.plan import names

if TYPE_CHECKING:
    from kai_airflow.messaging.outcome import Outcome

STREAM = names.run_stream("shop", "train")
OF = Try(STREAM, "try", "training")

# Sources are numbered from 1, their copies on the input from 101, outputs from 201.
FIRST_INPUT, FIRST_OUTPUT = 101, 201


def share(*request_ids: str) -> Share:
    return Share(OF, [Input(FIRST_INPUT + n, 1 + n, request_id) for n, request_id in enumerate(request_ids)])


def good(*request_ids: str) -> list[Output]:
    return [Output(FIRST_OUTPUT + n, "", request_id) for n, request_id in enumerate(request_ids)]


def error(request_id: str) -> Output:
    return Output(FIRST_OUTPUT + 50, "", request_id, Complaint(request_id, "no"))


UNREADABLE = Output(FIRST_OUTPUT + 60, "", "", Complaint("", "unreadable"), readable=False)


def counted(outcome: Outcome) -> list[str]:
    return [output.request_id for output in outcome.outputs]


def test_all_counts_of_a_try_that_went_well_under_whatever_id_it_published() -> None:
    outcome = settle(share("a", "b"), good("a", "new-1", "new-2"), None)
    assert outcome.done == {1, 2}
    assert outcome.bad == 0
    assert counted(outcome) == ["a", "new-1", "new-2"]


def test_of_a_broken_try_the_acked_requests_count() -> None:
    outcome = settle(share("a", "b", "c"), good("a", "b", "c"), FIRST_INPUT + 1)
    assert outcome.done == {1, 2}
    assert outcome.bad == 1
    assert counted(outcome) == ["a", "b"]


def test_of_a_broken_try_that_published_under_foreign_ids_nothing_counts() -> None:
    outcome = settle(share("a", "b"), good("a", "new"), FIRST_INPUT)
    assert outcome.done == set()
    assert outcome.outputs == ()


def test_the_last_ack_of_a_broken_try_may_owe_an_error_unless_it_has_an_output() -> None:
    assert settle(share("a", "b", "c"), good("a"), FIRST_INPUT + 1).done == {1}
    assert settle(share("a", "b", "c"), good("a", "b"), FIRST_INPUT + 1).done == {1, 2}
    assert settle(share("a", "b", "c"), [], FIRST_INPUT + 1).done == {1}


def test_a_request_answered_with_an_error_is_not_done_and_what_it_published_before_does_not_count() -> None:
    outcome = settle(share("a", "b"), [*good("a", "b"), error("b")], None)
    assert outcome.done == {1}
    assert counted(outcome) == ["a"]
    assert [complaint.request_id for complaint in outcome.complaints] == ["b"]


def test_messages_of_one_request_stand_or_fall_together() -> None:
    outcome = settle(share("a", "b", "a"), good("a", "b"), FIRST_INPUT + 1)
    assert outcome.done == {2}
    assert counted(outcome) == ["b"]


def test_errors_travel_where_the_krt_says_so_but_never_what_nobody_can_read() -> None:
    travelling = settle(share("a", "b"), [*good("a"), error("b")], None, errors_travel=True)
    assert travelling.done == {1, 2}
    assert counted(travelling) == ["a", "b"]
    assert travelling.complaints == ()
    unreadable = settle(share("a"), [*good("a"), UNREADABLE], None, errors_travel=True)
    assert unreadable.done == set()
    assert len(unreadable.complaints) == 1


def test_a_try_that_was_fed_nothing_has_done_nothing() -> None:
    assert settle(share(), [], None).done == set()


IDS = st.sampled_from("abcdef")


@given(st.lists(IDS), st.lists(st.tuples(st.sampled_from("abcdefxy"), st.booleans())), st.none() | st.integers(95, 120))
def test_an_output_counts_only_for_a_request_that_is_done_and_what_is_not_done_is_whole(
    fed: list[str], published: list[tuple[str, bool]], acked: int | None
) -> None:
    outputs = [
        Output(FIRST_OUTPUT + n, "", name, Complaint(name, "no") if bad else None)
        for n, (name, bad) in enumerate(published)
    ]
    outcome = settle(share(*fed), outputs, acked)
    done = {name for n, name in enumerate(fed, 1) if n in outcome.done}
    undone = {name for n, name in enumerate(fed, 1) if n not in outcome.done}
    assert not done & undone
    assert outcome.bad == sum(name in undone for name in fed)
    if undone:
        assert {output.request_id for output in outcome.outputs} <= done
    assert not any(output.complaint for output in outcome.outputs)


def test_a_manifest_tells_outputs_of_several_tries_apart() -> None:
    kept = settle(share("a", "b"), good("a"), FIRST_INPUT)
    again = settle(Share(Try(STREAM, "later", "training"), [Input(300, 2, "b")]), [Output(301, "go", "b")], None)
    left = manifest(STREAM, "training", [kept, again])
    assert left.channels == {"": {"try": (FIRST_OUTPUT,)}, "go": {"later": (301,)}}
