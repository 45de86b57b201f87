"""What a process's task is compared with: the stock operator as its user would write it."""

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

with DAG("one-pod", schedule=None):
    KubernetesPodOperator(
        task_id="work",
        name="one-pod",
        image="benchmarks/plain",
        namespace="default",
        deferrable=False,
        get_logs=True,
    )
