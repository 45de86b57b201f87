"""Holds a Lease, and acts all the time: ``python lease_holder.py KUBECONFIG NAMESPACE NAME HOLDER``; short times.

Says ``act`` for each act, ``late`` when it finds that it stood still, and ``lost`` when it may not act any more.
"""

from __future__ import annotations

import asyncio
import sys
import time

from kai_airflow.bridge.cluster import lease
from kai_airflow.bridge.cluster.client import reaching
from kai_airflow.bridge.cluster.lease import Lease, LeaseLostError
from kai_airflow.bridge.site import Cluster

vars(lease).update({"DURATION": 3, "RENEW": 0.5, "SURE": 2.0, "LOOK": 0.2})
STEP = 0.05


async def main(kubeconfig: str, namespace: str, name: str, holder: str) -> None:
    async with reaching(Cluster(namespace, kubeconfig=kubeconfig)) as kubernetes:
        held = Lease(kubernetes, namespace, name, {}, holder)

        async def act() -> None:
            last = time.monotonic()
            while True:
                if time.monotonic() - last > lease.SURE:
                    say("late")
                last = time.monotonic()
                held.require()
                say("act")
                await asyncio.sleep(STEP)

        try:
            await held.work(act)
        except LeaseLostError:
            say("lost")


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


asyncio.run(main(*sys.argv[1:]))
