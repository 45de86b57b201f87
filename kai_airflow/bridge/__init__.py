"""What works beside Airflow. So far the sweep: it ends pods that nobody waits for any more."""
