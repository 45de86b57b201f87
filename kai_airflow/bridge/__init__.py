"""What works beside Airflow: messages become runs, long-lived processes are kept, pods that nobody waits for end."""
