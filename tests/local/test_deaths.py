"""How often a part may end."""

from __future__ import annotations

from kai_airflow.local.deaths import TOO_MANY, WITHIN, Deaths


def after(*moments: float) -> Deaths:
    deaths = Deaths()
    for moment in moments:
        deaths = deaths.another(moment)
    return deaths


def test_a_part_that_ends_for_the_first_time_is_started_again_at_once() -> None:
    assert (after(5.0).pause, after(5.0).too_many) == (0.0, False)


def test_a_part_whose_ends_do_not_count_is_started_again_at_once() -> None:
    assert (Deaths().pause, Deaths().too_many) == (0.0, False)


def test_a_second_death_soon_after_is_waited_out() -> None:
    assert after(5.0, 6.0).pause > 0
    assert not after(5.0, 6.0).too_many


def test_the_third_within_a_minute_is_too_many() -> None:
    assert TOO_MANY == 3
    assert WITHIN == 60
    assert after(5.0, 6.0, 64.9).too_many


def test_deaths_of_more_than_a_minute_ago_are_forgotten() -> None:
    assert not after(5.0, 6.0, 65.0).too_many
    assert after(0.0, 100.0, 200.0, 300.0).pause == 0.0
