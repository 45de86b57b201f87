"""Messages on NATS: the connection, KAI's message, how tries are fed and drained. Knows nothing of Airflow."""
