"""When a task was in which state, as Airflow's database saw it: nothing is missed, and nobody has to keep asking."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTE_CHANGES = """
create table benchmark_states (dag_id text, run_id text, task_id text, state text, at timestamptz);
create function benchmark_note() returns trigger language plpgsql as $$
begin
    insert into benchmark_states values (new.dag_id, new.run_id, new.task_id, new.state, clock_timestamp());
    return null;
end $$;
create trigger benchmark_note after update of state on task_instance
    for each row when (old.state is distinct from new.state) execute function benchmark_note();
"""
CHANGES = """
select state, extract(epoch from at)::float8 from benchmark_states
    where dag_id = $1 and run_id = $2 and task_id = $3 order by at
"""


class States:
    """The changes of tasks' states from now on, in the Airflow whose database this is."""

    def __init__(self, database: str) -> None:
        # SQLAlchemy's form of the address names the driver, too.
        self._database = database.replace("postgresql+psycopg2", "postgresql")
        asyncio.run(self._ask(NOTE_CHANGES))

    def running(self, dag_id: str, run_id: str, task_id: str) -> float:
        """How long an ended task was in state running, in seconds, however often."""
        changes = asyncio.run(self._ask(CHANGES, dag_id, run_id, task_id))
        return seconds_in("running", [(change[0], change[1]) for change in changes])

    async def _ask(self, query: str, *arguments: str) -> list[Any]:
        connection = await asyncpg.connect(self._database)
        try:
            if arguments:
                return list(await connection.fetch(query, *arguments))
            await connection.execute(query)
            return []
        finally:
            await connection.close()


def seconds_in(state: str, changes: Sequence[tuple[str | None, float]]) -> float:
    """How long something was in a state; ``changes``: into which one, and when."""
    return sum(after - at for (into, at), (_, after) in pairwise(changes) if into == state)
