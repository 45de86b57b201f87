"""The stack as a context manager: brought up in order of dependency, brought down in reverse."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from kai_airflow.local import airflow, nats, ports, programs, remains
from kai_airflow.local.airflow import Addresses
from kai_airflow.local.environment import basis
from kai_airflow.local.errors import StackError
from kai_airflow.local.home import Home, Secrets, locked
from kai_airflow.local.keeper import Keeper
from kai_airflow.local.progress import Progress, Silence
from kai_airflow.local.start import Start
from kai_airflow.local.supervisor import Supervisor
from kai_airflow.local.waiting import first

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

SIGNALS = 0.2  # seconds after which a signal is noticed at the latest


class Stack:
    """Entered it is healthy, left it is gone. Its own event loop runs in a thread meanwhile.

    :param dags: the dags folder
    :param home: the stack's own folder, made where missing, kept afterwards
    :param port: the UI's; all other ports are whatever is free
    :param progress: hears of each part
    """

    user = airflow.USER

    def __init__(self, dags: Path, home: Path, port: int, progress: Progress | None = None) -> None:
        self.dags, self.home, self.port = dags.absolute(), Home(home.absolute()), port
        self._progress = progress or Silence()
        self._stop = asyncio.Event()
        self._ready: Future[None] = Future()
        self._resources = ExitStack()

    @property
    def url(self) -> str:
        """The UI and the API."""
        return airflow.ui(self.port)

    @property
    def password(self) -> str:
        """Of ``user``, in the UI."""
        return self._secrets.admin

    @property
    def nats_url(self) -> str:
        """The stack's NATS, user and password included."""
        return nats.url(self._addresses.nats, self._secrets.nats)

    @property
    def kubeconfig(self) -> Path:
        """How to reach the stack's Kubernetes API."""
        return self.home.kubeconfig

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which an ``airflow`` command works with this stack."""
        return airflow.environment(self._basis, self.home, self._secrets, self._addresses)

    def __enter__(self) -> Self:
        """Start everything. Raises StackError; PartEndedError where a part is to blame."""
        try:
            self._prepare()
            self._loop = asyncio.new_event_loop()
            self._resources.callback(self._loop.close)
            thread = self._resources.enter_context(ThreadPoolExecutor(1, "kai-airflow stack"))
            self._served = thread.submit(self._loop.run_until_complete, self._serve())
            self._resources.callback(self._leave)
            _first_of(self._ready, self._served)
            if self._served.done():
                self._served.result()
        except BaseException:
            self._resources.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self._resources.close()

    def wait(self) -> None:
        """Wait until a part ends too often. Raises PartEndedError."""
        _first_of(self._served)
        self._served.result()

    def _prepare(self) -> None:
        """All that can be refused before anything is started."""
        programs.require_extra()
        if not self.dags.is_dir():
            raise StackError(f"{self.dags}: no such folder. Remedy: make it, or name the dags folder with --dags.")
        self.home.make()
        self._lock = self._resources.enter_context(locked(self.home))
        remains.kill(self.home.logs)
        self.home.site.unlink(missing_ok=True)  # of a former stack, with other ports
        ports.require_free(self.port)
        self._secrets, self._basis = Secrets.of(self.home), basis(os.environ)
        self._addresses = Addresses(self.dags, self.port, *[*ports.free(3), self.home.ingress_port()])

    async def _serve(self) -> None:
        """Run the stack until it is told to stop, or a part ends too often."""
        async with Supervisor(self.home.logs, keep=(self._lock,)) as supervisor:
            try:
                async with Keeper(supervisor, self._progress) as keeper:
                    await first(self._run(supervisor, keeper), keeper.death(), self._stop.wait())
            finally:
                self._progress.stopping()

    async def _run(self, supervisor: Supervisor, keeper: Keeper) -> None:
        start = Start(supervisor, keeper, self.home, self._secrets, self._addresses, self._basis, self._progress)
        await start.parts()
        keeper.settle()
        self._progress.healthy()
        self._ready.set_result(None)
        await self._stop.wait()

    def _leave(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        while not self._served.done():
            with suppress(KeyboardInterrupt):  # a second one doesn't leave half a stack behind
                wait((self._served,))


def _first_of(*futures: Future[None]) -> None:
    """Wait until one of them is done.

    Look up now and then: a signal that another thread took in doesn't wake this one, which alone acts on signals.
    """
    while not wait(futures, timeout=SIGNALS, return_when=FIRST_COMPLETED).done:
        pass
