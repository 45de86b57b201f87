"""The graph of dags/github-trainer, of stock operators whose containers have nothing to do."""

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

NAMES = ("github-trigger", "splitter", "training-go", "training-py", "validation", "exit")

with DAG("six-pods", schedule=None):
    first, splitter, go, py, validation, last = (
        KubernetesPodOperator(
            task_id=name,
            name=name,
            image="benchmarks/plain",
            namespace="default",
            deferrable=False,
            get_logs=True,
        )
        for name in NAMES
    )
    first >> splitter >> [go, py] >> validation >> last
