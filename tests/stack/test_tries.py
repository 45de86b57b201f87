"""What is fed again and what is kept when a try doesn't end well. Real processes that die, on the whole stack."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.messaging.connection import connect
from tests.stack.krts import add_images
from tests.stack.pipelines import COUNT, Pipeline, add_processes

if TYPE_CHECKING:
    from kai_airflow.local.airflow_api import AirflowApi, Run
    from kai_airflow.local.stack import Stack

ALL = list(range(COUNT))
CONTINUE = "{retries: 0, on_message_error: continue}"
ONCE = "{retries: 0}"
DEFERRED = "{retries: 3, retry_delay: 0, deferrable: true}"

PIPELINES: dict[str, dict[str, Any]] = {
    "dies-first": {"settings": {"dies_before_ack_of": "0"}},
    "dies-middle": {"settings": {"dies_before_ack_of": "50"}},
    "dies-last": {"settings": {"dies_after_ack_of": "99"}},
    "refuses": {"settings": {"refuses_once": "7"}},
    "replicas": {"settings": {"delay": "0.05", "dies_before_ack_of": "30"}, "more": ", replicas: 4"},
    "several": {"image": "test/many"},
    "grumbling": {"image": "test/grumble", "extension": ONCE},
    "continuing": {"image": "test/grumble", "extension": CONTINUE},
    "large": {"image": "test/too_large", "extension": ONCE},
    "plain": {"image": "test/plain-good", "extension": ONCE},
    "plain-bad": {"image": "test/plain-bad", "extension": ONCE},
    "deferred": {
        "settings": {"dies_before_ack_of": "50"},
        "extension": DEFERRED,
    },
}
COUNTS = {"large": 3, "plain": 20, "plain-bad": 3}


@pytest.fixture(scope="module")
def runs(stack: Stack, api: AirflowApi) -> dict[str, tuple[Pipeline, Run]]:
    """A run of each pipeline, all at once."""
    add_processes(stack)
    good = 'import json, os; print(sum(one["payload"]["n"] for one in json.loads(os.environ["KAI_REQUESTS"])))'
    add_images(
        stack,
        {
            "test/plain-good": ["python", "-c", good],
            "test/plain-bad": ["sh", "-c", "echo about to fail; exit 4"],
        },
    )
    pipelines = {name: Pipeline(stack, api, name, **settings).install() for name, settings in PIPELINES.items()}
    return {name: (one, one.start(COUNTS.get(name, COUNT))) for name, one in pipelines.items()}


@pytest.fixture
def ended(runs: dict[str, tuple[Pipeline, Run]], request: pytest.FixtureRequest) -> tuple[Pipeline, Run]:
    pipeline, run = runs[request.param]
    return pipeline, pipeline.end(run)


def of(name: str) -> pytest.MarkDecorator:
    """The test looks at this pipeline's run, once it has ended."""
    return pytest.mark.parametrize("ended", [name], indirect=True)


@of("dies-first")
def test_a_process_that_dies_before_its_first_ack_is_fed_everything_again(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    pipeline.assert_each_once(run)
    assert pipeline.taken() == [0, *ALL]
    assert pipeline.tries(run) == 2


@of("dies-middle")
def test_after_a_death_in_the_middle_only_what_is_unfinished_is_fed_again(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    pipeline.assert_each_once(run)
    assert pipeline.taken() == [*ALL[:51], *ALL[50:]]
    assert "keeping what an earlier try did well: 50 of 100 message(s)" in pipeline.log(run, number=2)
    manifest = pipeline.api.xcom(run, "mid", "manifest")
    assert (manifest["fed"], manifest["good"], manifest["bad"]) == (100, 100, 0)


@of("dies-last")
def test_a_process_that_dies_after_its_last_ack_has_nothing_to_do_again(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    pipeline.assert_each_once(run)
    assert pipeline.taken() == ALL
    assert pipeline.tries(run) == 2


@of("refuses")
def test_a_request_that_was_answered_with_an_error_is_the_only_one_fed_again(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    pipeline.assert_each_once(run)
    assert pipeline.taken() == [*ALL, 7]
    assert "request r-7: not yet: 7" in pipeline.log(run)


@of("replicas")
def test_of_several_pods_the_one_that_died_is_alone_in_being_fed_again(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    pipeline.assert_each_once(run)
    assert sorted(pipeline.taken()) == sorted([*ALL, 30])
    # r-30 is in the third share of four, behind seven others: 18 are left of its 25.
    assert "fed 18 message(s)" in pipeline.log(run, number=2)
    assert pipeline.lives() == 8


@of("several")
def test_a_request_may_have_several_outputs_or_none(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    assert run.state == "success"
    answered = [n for n in ALL if n % 5]
    assert pipeline.results(run) == sorted(answered * 2)
    assert pipeline.api.xcom(run, "mid", "manifest")["channels"]["more"]["count"] == len(answered)


@of("grumbling")
def test_error_messages_fail_the_task_and_say_which_requests(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    assert pipeline.states(run)["mid"] == "failed"
    assert pipeline.states(run)["exit"] == "upstream_failed"
    assert "mid answered with 34 ERROR message(s):" in pipeline.log(run)
    manifest = pipeline.api.xcom(run, "mid", "manifest")
    assert (manifest["fed"], manifest["good"], manifest["bad"]) == (100, 66, 34)


@of("continuing")
def test_error_messages_travel_on_where_the_krt_says_so(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    assert pipeline.states(run)["mid"] == "success"
    assert pipeline.api.xcom(run, "exit", "manifest")["fed"] == 100


@of("large")
def test_an_output_too_large_is_lost_and_its_line_is_in_the_log(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    assert run.state == "success"
    assert pipeline.results(run) == [0, 2]
    assert "left out: message 'r-1' of mid is" in pipeline.log(run)


@of("plain")
def test_a_plain_image_finds_its_requests_in_its_environment_and_passes_them_on(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    assert run.state == "success"
    assert pipeline.results(run) == list(range(20))
    assert "passed on 20 message(s)" in pipeline.log(run)
    assert f" {sum(range(20))}" in pipeline.log(run)


@of("plain-bad")
def test_a_plain_image_that_fails_fails_its_task(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    assert pipeline.states(run)["mid"] == "failed"
    assert "the process ended with exit code 4" in pipeline.log(run)
    assert "about to fail" in pipeline.log(run)


@of("deferred")
def test_a_deferred_task_retries_as_others_do(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    pipeline.assert_each_once(run)
    assert pipeline.taken() == [*ALL[:51], *ALL[50:]]


@of("dies-middle")
def test_clearing_a_task_that_went_well_does_all_of_it_again(ended: tuple[Pipeline, Run]) -> None:
    pipeline, run = ended
    before = pipeline.api.xcom(run, "exit", "manifest")
    taken = pipeline.taken()
    pipeline.api.clear(run, ["mid"])
    pipeline.assert_each_once(pipeline.end(run))
    assert pipeline.taken() == [*taken, *ALL]
    assert pipeline.api.xcom(run, "exit", "manifest")["channels"] != before["channels"]


@of("dies-last")
def test_a_clear_after_the_messages_have_expired_fails_and_says_so(ended: tuple[Pipeline, Run], stack: Stack) -> None:
    pipeline, run = ended

    async def expire() -> None:
        async with connect(stack.nats_url, name="test") as connection:
            await connection.js.purge_stream(pipeline.stream)

    asyncio.run(expire())
    pipeline.api.clear(run, ["mid"])
    run = pipeline.end(run)
    assert run.state == "failed"
    last = pipeline.tries(run)
    assert "it expired, or the stream was made anew" in pipeline.log(run, number=last)
    assert "clear this one from its trigger on" in pipeline.log(run, number=last)
