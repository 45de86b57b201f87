"""Messages against runs: what is a difference, what isn't, and what can't be known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kai_airflow.bridge.runs.audit import Audit, Backlog, Carrier, Held, Place, compare
from kai_airflow.messaging.origin import Origin

DAG, STREAM, CREATED, TRIGGER = "shop.train", "shop_v1_0_0_train", "20260101T000000000000Z", "start"
DONE = Backlog(floor=100, delivered=100, unacked=0)
HELD = Held(TRIGGER, {n: 1000 * n for n in range(1, 6)}, DONE, groups=DONE)
PLACE = Place(STREAM, CREATED, first=1, last=50, held=(HELD,))


def run(*sequences: int, trigger: str = TRIGGER, created: str = CREATED, stream: str = STREAM) -> Carrier:
    origin = Origin(stream, created, trigger, sequences, 1000 * sequences[0])
    return Carrier(origin.run_id, origin)


def audit(*runs: Carrier, place: Place = PLACE, oldest: int | None = 0, **held: object) -> Audit:
    of = replace(place.held[0], **held)  # type: ignore[arg-type]
    return compare(DAG, [replace(place, held=(of, *place.held[1:]))], runs, oldest)


def found(given: Audit) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.kind, one.sequences, one.runs) for one in given.differences]


EACH = [run(n) for n in range(1, 6)]


def test_each_message_in_one_run_is_well() -> None:
    assert audit(*EACH) == Audit(DAG, 5, 5, 0, 0, 0, (), ())
    assert audit(run(1, 2, 3), run(4, 5)) == Audit(DAG, 5, 5, 0, 0, 0, (), ())


def test_a_message_in_no_run_is_lost() -> None:
    given = audit(run(1), run(3), run(5))
    assert found(given) == [("lost", "2,4", ())]
    assert given.differences[0].text == (
        f"message(s) 2,4 of start in {STREAM}: in no run, no dead letters, and not waiting"
    )


def test_a_message_in_two_runs_is_told_with_them() -> None:
    given = audit(*EACH, replace(run(2, 3), run_id="other"))
    assert found(given) == [("twice", "2", (EACH[1].run_id, "other")), ("twice", "3", (EACH[2].run_id, "other"))]
    assert given.in_runs == 5
    many = [replace(run(1), run_id=f"r{n}") for n in range(8)]
    assert "in several runs, r0, r1, r2, r3, r4 and 3 more" in audit(*many, *EACH[1:]).differences[0].text


def test_dead_letters_and_what_somebody_did_with_them_are_no_differences() -> None:
    place = replace(PLACE, buried=frozenset({2}), settled=frozenset({3, 2}))
    given = audit(run(1), run(4), run(5), place=place)
    assert (found(given), given.dead, given.settled, given.in_runs) == ([], 1, 1, 3)


def test_a_dead_letter_that_is_in_a_run_as_well_counts_as_in_the_run() -> None:
    given = audit(*EACH, place=replace(PLACE, buried=frozenset({2})))
    assert (given.in_runs, given.dead, given.differences) == (5, 0, ())


@pytest.mark.parametrize(
    ("backlog", "waiting", "lost"),
    [
        (None, 5, ""),  # no bridge has ever taken them up
        (Backlog(floor=0, delivered=0, unacked=0), 5, ""),
        (Backlog(floor=2, delivered=2, unacked=0), 3, "1-2"),
        (Backlog(floor=2, delivered=4, unacked=2), 3, "1-2"),
        (Backlog(floor=2, delivered=4, unacked=0), 1, "1-4"),
        (Backlog(floor=2, delivered=4, unacked=1), 1, "1-2 3-4"),  # one of the two is acked; which one, nobody can tell
        (DONE, 0, "1-5"),
    ],
)
def test_what_is_not_delivered_or_not_acked_waits(backlog: Backlog | None, waiting: int, lost: str) -> None:
    given = audit(backlog=backlog)
    assert given.waiting == waiting
    assert [sequences for _, sequences, _ in found(given)] == lost.split()


def test_a_message_that_is_in_a_run_and_not_acked_yet_does_not_wait() -> None:
    given = audit(*EACH, backlog=Backlog(floor=0, delivered=5, unacked=5))
    assert (given.in_runs, given.waiting, given.differences) == (5, 0, ())


def test_what_is_written_down_to_share_a_run_waits_as_long_as_the_record_does() -> None:
    grouped = {n: 20 if n < 3 else 30 for n in range(1, 6)}
    assert audit(grouped=grouped, groups=Backlog(10, 10, 0)).waiting == 5
    given = audit(grouped=grouped, groups=Backlog(floor=20, delivered=30, unacked=1))
    assert (given.waiting, found(given)) == (3, [("lost", "1-2", ())])
    assert found(audit(grouped=grouped, groups=DONE)) == [("lost", "1-5", ())]
    given = audit(run(1, 2), grouped=grouped, groups=Backlog(20, 20, 0))
    assert (given.in_runs, given.waiting, given.differences) == (2, 3, ())


def test_a_run_that_names_what_its_stream_never_held_is_told() -> None:
    strange = run(7, 8)
    assert found(audit(*EACH, strange)) == [("unknown", "7-8", (strange.run_id,))]
    other = replace(run(2), origin=replace(run(2).origin, published=1))
    given = audit(*EACH[:1], *EACH[2:], other)
    assert found(given) == [("unknown", "2", (other.run_id,)), ("lost", "2", ())]


def test_a_run_of_a_message_that_came_after_the_look_is_well() -> None:
    assert audit(*EACH, run(51)).differences == ()


def test_runs_whose_messages_have_expired_are_told_as_unknown() -> None:
    held = {n: 1000 * n for n in (3, 4, 5)}
    given = audit(*EACH, place=replace(PLACE, first=3), messages=held)
    assert (given.differences, given.messages) == ((), 3)
    assert given.unsure == (f"2 run(s) of 'start' carry messages that {STREAM} keeps no longer",)
    given = audit(run(2, 3), run(4, 5), place=replace(PLACE, first=3), messages=held)
    assert (given.differences, given.in_runs) == ((), 3)


def test_a_message_older_than_any_run_that_airflow_knows_is_no_loss_for_sure() -> None:
    given = audit(run(4), run(5), oldest=3000)
    assert found(given) == [("lost", "3", ())]
    assert given.unsure == (
        f"message(s) 1-2 of 'start' in {STREAM} are in no run, and older than any run of the DAG that Airflow knows: "
        "their runs may have been deleted",
    )
    given = audit(oldest=None)
    assert given.differences == ()
    assert "message(s) 1-5 of 'start'" in given.unsure[0]
    assert "Airflow knows no run of the DAG" in given.unsure[0]


def test_runs_of_another_stream_of_that_name_and_of_other_streams_are_not_compared() -> None:
    given = audit(*EACH, run(1, created="20250101T000000000000Z"), run(1, stream="shop_v2_0_0_train"))
    assert given.differences == ()
    assert given.unsure == (
        "2 run(s) carry messages of streams that were deleted or made anew since, or aren't this DAG's",
    )


def test_runs_of_what_is_no_trigger_any_more_are_told() -> None:
    given = audit(*EACH, run(9, trigger="gone"))
    assert given.differences == ()
    assert given.unsure == ("1 run(s) are of 'gone', which is no trigger (any more)",)


def test_each_trigger_and_each_stream_is_compared_on_its_own() -> None:
    also = Held("also", {10: 10_000, 11: 11_000}, DONE, groups=DONE)
    old = Place("shop_v0_9_0_train", "20250101T000000000000Z", 1, 3, (Held(TRIGGER, {1: 1000}, DONE),))
    places = [replace(PLACE, held=(HELD, also)), old]
    runs = [*EACH, run(10, trigger="also"), run(1, stream=old.stream, created=old.created)]
    given = compare(DAG, places, runs, 0)
    assert found(given) == [("lost", "11", ())]
    assert (given.messages, given.in_runs) == (8, 7)
    assert found(compare(DAG, places, [*runs, run(11)], 0)) == [
        ("unknown", "11", (run(11).run_id,)),
        ("lost", "11", ()),
    ]
