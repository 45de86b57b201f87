"""One run of one workflow without a scheduler, by Airflow's own ``dag.test``: the process behind ``kai-airflow run``.

It is a process of its own because it imports Airflow, and because what it changes (AIRFLOW_HOME, the environment,
logging) is then its own. ``python -m kai_airflow.rehearsal FOLDER`` finds in the folder

- ``job.json``: ``{"path": where the KRT stands, "dag_id": ..., "conf": {...}}``
- ``dags/krt.yaml``: a copy of the KRT
- ``events``: a FIFO, into which it writes lines of JSON, each one of

  - ``{"tasks": [{"task_id", "state", "try_number", "start", "duration"}, ...]}`` when a task starts or ends
  - ``{"task_id": ..., "lines": [...]}``, of a task's log, and ``{"task_id": ..., "error": [...]}``, why it failed, line
    by line; secrets are masked
  - ``{"state": ..., "run_id": ..., "tasks": [...], "manifests": {task_id: ...}}``, the last: how the run ended
  - ``{"refused": message}``, the only one: Airflow can't make a DAG of the workflow

Airflow's own log goes to standard output. The configuration comes in the environment.
"""
