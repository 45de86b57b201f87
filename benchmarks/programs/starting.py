"""What Airflow's task runner does before a task's code runs. ``starting.py BUNDLE MODULE DAG_ID TASK_ID``."""

from __future__ import annotations

import json
import os
import sys
import time

# In a worker it is imported before a task is known, and brings most of Airflow along.
import airflow.sdk.execution_time.task_runner  # noqa: F401
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag


def main() -> None:
    """As ``airflow.sdk.execution_time.task_runner.parse`` does it."""
    name, module, dag_id, task_id = sys.argv[1:]
    began = time.perf_counter()
    bundle = DagBundlesManager().get_bundle(name)  # type: ignore[no-untyped-call]
    bundle.initialize()
    initialized = time.perf_counter()
    bag = BundleDagBag(
        dag_folder=os.fspath(bundle.path / module),
        safe_mode=False,
        load_op_links=False,
        bundle_path=bundle.path,
        bundle_name=name,
    )
    bag.dags[dag_id].get_task(task_id)
    loaded = time.perf_counter()
    sys.stdout.write(json.dumps({"bundle": initialized - began, "loaded": loaded - began}) + "\n")


if __name__ == "__main__":
    main()
