"""The KRT language: KAI's description of a product version (section 1 of the KAI reference).

Files are found, read with the place of every value, judged by all rules at once, and become a frozen model. Nothing
here knows of Airflow, Kubernetes or NATS.
"""

from kai_airflow.krt.checking import check, load
from kai_airflow.krt.cron import Cron, Every
from kai_airflow.krt.finding import find
from kai_airflow.krt.json_schema import json_schema
from kai_airflow.krt.masking import mask
from kai_airflow.krt.model import (
    START,
    Networking,
    ObjectStore,
    Process,
    Product,
    Quantity,
    Resources,
    Subscription,
    Workflow,
)
from kai_airflow.krt.reading import MAX_BYTES
from kai_airflow.krt.report import Issue, KrtError, Report
from kai_airflow.krt.sensitive import MASK, is_sensitive, passwords, shown

__all__ = [
    "MASK",
    "MAX_BYTES",
    "START",
    "Cron",
    "Every",
    "Issue",
    "KrtError",
    "Networking",
    "ObjectStore",
    "Process",
    "Product",
    "Quantity",
    "Report",
    "Resources",
    "Subscription",
    "Workflow",
    "check",
    "find",
    "is_sensitive",
    "json_schema",
    "load",
    "mask",
    "passwords",
    "shown",
]
