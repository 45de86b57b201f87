"""What a process's task is compared with: the stock operator as its user would write it."""

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

for name, image in (("pod", "benchmarks/plain"), ("pod-working", "benchmarks/plain-working")):
    with DAG(name, schedule=None):
        KubernetesPodOperator(
            task_id="work",
            name=name,
            image=image,
            namespace="default",
            deferrable=False,
            get_logs=True,
        )
