"""What Airflow learns of this package where it is installed. Read by every part of Airflow: it imports nothing."""

from __future__ import annotations

from typing import Any

_NATS = "NATS"
_PACKAGE = "kai_airflow.nats"


def get_provider_info() -> dict[str, Any]:
    """The entry point ``apache_airflow_provider``; the schema is Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "kai-airflow",
        "name": "KAI",
        "description": "Konstellation KAI's workflows as DAGs, and NATS for any DAG.",
        "integrations": [{"integration-name": _NATS, "external-doc-url": "https://nats.io/", "tags": ["service"]}],
        "hooks": _modules("hook"),
        "operators": _modules("publish"),
        "sensors": _modules("sensor"),
        "triggers": _modules("trigger"),
        "queues": [f"{_PACKAGE}.queue.NatsMessageQueueProvider"],
        "connection-types": [
            {
                "connection-type": "nats",
                "hook-class-name": f"{_PACKAGE}.hook.NatsHook",
                "hook-name": _NATS,
                "ui-field-behaviour": _STANDARD_FIELDS,
                "conn-fields": _EXTRA_FIELDS,
            }
        ],
        "config": {"kai_airflow": {"description": "How kai-airflow runs KRT files.", "options": _OPTIONS}},
    }


def _modules(module: str) -> list[dict[str, Any]]:
    return [{"integration-name": _NATS, "python-modules": [f"{_PACKAGE}.{module}"]}]


def _field(label: str, description: str, **schema: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"], **schema}}


def _secret(label: str, description: str) -> dict[str, Any]:
    return _field(label, description, format="password")


_STANDARD_FIELDS = {
    "hidden-fields": ["schema"],
    "relabeling": {"host": "Servers", "login": "User"},
    "placeholders": {"host": "nats.example.com, or several: a.example.com,b.example.com", "port": "4222"},
}

_PATH_OR_TEXT = "The path of a file that every part of Airflow has, or what stands in it."

# The keys are those of kai_airflow.nats.address.EXTRA.
_EXTRA_FIELDS = {
    "token": _secret("Token", "Instead of user and password."),
    "creds_secret": _secret("Creds", f"A creds file, instead of user and password. {_PATH_OR_TEXT}"),
    "nkey_secret": _secret("NKey seed", f"Instead of user and password. {_PATH_OR_TEXT}"),
    "tls_ca": _field("TLS: certificate authority", f"Instead of the system's. {_PATH_OR_TEXT}"),
    "tls_cert": _field("TLS: client certificate", f"Where the server asks for one. {_PATH_OR_TEXT}"),
    "tls_private_key": _secret("TLS: client key", f"Of the client certificate. {_PATH_OR_TEXT}"),
    "pods": _field("Servers for pods", "Where pods reach the servers at another address."),
    "pods_user": _field("User for pods", "Where pods log in as somebody else."),
    "pods_password": _secret("Password for pods", "Of the user for pods."),
    "pods_token": _secret("Token for pods", "Instead of user and password for pods."),
}


def _option(kind: str, default: str, description: str, example: str) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": kind,
        "example": example,
        "default": default,
    }


_OPTIONS = {
    "stream_max_age": _option(
        "integer", "604800", "Seconds for which NATS keeps messages of triggers, of runs, and dead letters.", "2592000"
    ),
    "stream_max_bytes": _option(
        "string",
        "",
        "Bytes of each stream. A full live stream refuses messages, a run stream drops its oldest. Empty: no limit.",
        "10737418240",
    ),
    "stream_replicas": _option(
        "string",
        "",
        "Servers of a NATS cluster that hold each stream. Empty: as its administrator set it.",
        "3",
    ),
    "max_queued_runs": _option(
        "integer",
        "1000",
        "Runs of a DAG that may be queued in Airflow; further messages wait in NATS.",
        "100",
    ),
    "base_domain": _option(
        "string",
        "",
        "The domain below which published triggers have their hosts. Empty: they share any host, told apart by paths.",
        "kai.example.com",
    ),
    "ingress_class": _option("string", "", "The class of their Ingresses. Empty: the cluster's own.", "kong"),
    "ingress_annotations": _option(
        "string",
        "",
        "Further annotations of these Ingresses, a JSON object. Kong takes the path's prefix away without any; with "
        "ingress-nginx's use-regex paths are regular expressions, and their prefix is taken away, too.",
        '{"nginx.ingress.kubernetes.io/use-regex": "true"}',
    ),
    "ingress_tls_secret": _option(
        "string",
        "",
        "The Secret of their certificate; {product} stands for the product. Empty: no TLS.",
        "{product}-tls",
    ),
}
