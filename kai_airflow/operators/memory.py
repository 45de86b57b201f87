"""What a task knows of its earlier tries, kept by Airflow for as long as its run exists."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.sdk import Context

_KEY = "kai_airflow_tries"


@dataclass(frozen=True)
class Begun:
    """A try that has begun, at a certain nats-server, when its run had been cleared so many times.

    ``acked`` is how far it came, None while it is under way.
    """

    id: str
    server: str
    clears: int
    acked: int | None = None


class Memory:
    """The tries since the task last went well, in Airflow's state store of the task: it outlives tries and clears."""

    def __init__(self, context: Context) -> None:
        self._store = context["task_state_store"]
        self.tries = [Begun(**found) for found in cast("list[Any]", self._store.get(_KEY, []))]

    def keep(self, tries: Iterable[Begun]) -> None:
        """Know these from now on, the oldest first."""
        self.tries = list(tries)
        self._store.set(_KEY, [asdict(one) for one in self.tries])

    def forget(self) -> None:
        """The task went well: whoever clears it wants it all done again."""
        self.tries = []
        self._store.delete(_KEY)
