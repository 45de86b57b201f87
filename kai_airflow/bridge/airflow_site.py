"""The one module of the bridge that imports Airflow: what Airflow's configuration says, printed as JSON.

Run as a process of its own by :func:`kai_airflow.bridge.site.ask_airflow`.
"""

from __future__ import annotations

import os
import sys

from airflow.configuration import conf
from airflow.dag_processing.bundles.manager import DagBundlesManager

from kai_airflow.bridge.site import VARIABLES, AirflowSite, Cluster, Settings, Site
from kai_airflow.bundle import KrtDagBundle
from kai_airflow.errors import KaiAirflowError
from kai_airflow.operators.connections import kubernetes_extra, nats_address, services
from kai_airflow.operators.settings import max_queued_runs, publishing, retention


def site() -> Site:
    """What Airflow is configured to. Raises KaiAirflowError."""
    manager = DagBundlesManager()  # type: ignore[no-untyped-call]
    bundles = [one for one in manager.get_all_dag_bundles() if isinstance(one, KrtDagBundle)]
    url = os.environ.get(VARIABLES[0]) or conf.get("api", "base_url", fallback="")
    return Site(
        folders=tuple(dict.fromkeys(bundle.source for bundle in bundles)),
        nats=nats_address(),
        airflow=AirflowSite.of({**os.environ, VARIABLES[0]: url}),
        settings=Settings(retention=retention(), max_queued_runs=max_queued_runs(), publishing=publishing()),
        cluster=_cluster(),
        services=services().sections,
    )


def _cluster() -> Cluster:
    said = kubernetes_extra()
    return Cluster(
        namespace=said.get("namespace") or "default",
        kubeconfig=said.get("kube_config_path") or "",
        config=said.get("kube_config") or {},
        context=said.get("cluster_context") or None,
    )


if __name__ == "__main__":
    # As Airflow's own `connections` command does, and without a public way: connections in the database are looked
    # up in the process of a server alone.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    try:
        print(site().to_json())  # noqa: T201 - what it is run for
    except KaiAirflowError as error:
        sys.exit(str(error))
