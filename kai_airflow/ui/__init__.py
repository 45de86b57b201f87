"""The page inside Airflow: what products are doing, and what a task was fed and published. Read-only."""
