"""A KRT as it was written: section 1 of the KAI reference as typed fields with their places, no rule applied yet.

What a key is for and how it is bounded stands here once: for the rules of ``x-airflow``, and for the JSON Schema.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeAlias, get_args

from kai_airflow.krt import forms
from kai_airflow.krt.model import Mode, OnMessageError, ProcessType, Protocol, Scope, WorkflowType
from kai_airflow.krt.place import Field
from kai_airflow.krt.pod_template import pod_template
from kai_airflow.krt.schema import (
    Key,
    Table,
    boolean,
    costly,
    each,
    each_or_empty_map,
    integer,
    keys_of,
    moment,
    number,
    record,
    table,
    text,
    texts,
)

EXTENSION = "x-airflow"

Texts: TypeAlias = Table[str]

_YEAR = 365 * 24 * 3600  # seconds; beyond some centuries a time can't be counted
_INT32 = 1 << 31  # Airflow's database takes no larger numbers
_SOME = {"minLength": 1}
_TAG = {"minLength": 1, "maxLength": forms.LONGEST_TAG}
_VERSION = {"type": "string", "pattern": f"^{forms.VERSION}$"}
_NAME = {"pattern": f"^({forms.NAME})$", "maxLength": forms.LONGEST_NAME}


def _one_of(words: object) -> dict[str, Any]:
    return {"type": "string", "enum": list(get_args(words))}


@dataclass(frozen=True, slots=True)
class ObjectStoreDraft:
    """``objectStore``."""

    name: Annotated[Field[str], Key("name", text, "The name of the object store.", True, _NAME)]
    scope: Annotated[
        Field[str], Key("scope", text, "Who shares the store: the product, or its workflow.", True, _one_of(Scope))
    ]


@dataclass(frozen=True, slots=True)
class NetworkingDraft:
    """``networking``."""

    target_port: Annotated[Field[int], Key("targetPort", integer, "The port that the process listens on.", True)]
    destination_port: Annotated[Field[int], Key("destinationPort", integer, "The port that others call.", True)]
    protocol: Annotated[Field[str], Key("protocol", text, "HTTP (default) or GRPC.", False, _one_of(Protocol))]


@dataclass(frozen=True, slots=True)
class LimitsDraft:
    """``CPU`` or ``memory``."""

    request: Annotated[
        Field[str], Key("request", text, "What is set aside, as Kubernetes writes quantities: 500m, 200M.", True, _SOME)
    ]
    limit: Annotated[Field[str], Key("limit", text, "The most that is given; the request where it is missing.")]


@dataclass(frozen=True, slots=True)
class ResourcesDraft:
    """``resourceLimits``."""

    cpu: Annotated[Field[LimitsDraft], Key("CPU", record(LimitsDraft), "Cores: 500m, 0.5 or 2.", True)]
    memory: Annotated[Field[LimitsDraft], Key("memory", record(LimitsDraft), "Bytes: 200M, 1.5Gi or 1000000.", True)]


@dataclass(frozen=True, slots=True)
class ProcessExtension:
    """A process's ``x-airflow``."""

    retries: Annotated[
        Field[int],
        Key("retries", integer, "How often the task is tried again.", False, {"minimum": 0, "maximum": _INT32 - 1}),
    ]
    retry_delay: Annotated[
        Field[float],
        Key("retry_delay", number, "Seconds before a retry.", False, {"minimum": 0, "maximum": _YEAR}),
    ]
    start_timeout: Annotated[
        Field[float],
        Key(
            "start_timeout",
            number,
            "Seconds until the process must have subscribed.",
            False,
            {"exclusiveMinimum": 0, "maximum": _YEAR},
        ),
    ]
    execution_timeout: Annotated[
        Field[float],
        Key(
            "execution_timeout",
            number,
            "Seconds that a try may take.",
            False,
            {"exclusiveMinimum": 0, "maximum": _YEAR},
        ),
    ]
    on_message_error: Annotated[
        Field[str],
        Key(
            "on_message_error",
            text,
            "Whether a message of type ERROR fails the task, or travels on as in KAI.",
            False,
            _one_of(OnMessageError),
        ),
    ]
    deferrable: Annotated[Field[bool], Key("deferrable", boolean, "Whether the task waits in the triggerer.")]
    pool: Annotated[Field[str], Key("pool", text, "Airflow's pool of the task.", False, {**_SOME, "maxLength": 256})]
    queue: Annotated[
        Field[str], Key("queue", text, "The executor's queue of the task.", False, {**_SOME, "maxLength": 256})
    ]
    executor: Annotated[
        Field[str],
        Key("executor", text, "The task's executor, by its alias.", False, {**_SOME, "maxLength": 1000}),
    ]
    priority_weight: Annotated[
        Field[int],
        Key(
            "priority_weight",
            integer,
            "The task's weight among those that wait for a slot.",
            False,
            {"minimum": -_INT32, "maximum": _INT32 - 1},
        ),
    ]
    pod: Annotated[
        Field[Table[Any]],
        Key("pod", pod_template, "A pod as Kubernetes writes it, merged under what the KRT says."),
    ]


@dataclass(frozen=True, slots=True)
class ProcessDraft:
    """One of ``processes``."""

    name: Annotated[Field[str], Key("name", text, "Unique in the workflow; the id of the task.", True, _NAME)]
    type: Annotated[
        Field[str],
        Key("type", text, "A trigger starts runs, a task works, an exit ends them.", True, _one_of(ProcessType)),
    ]
    image: Annotated[Field[str], Key("image", text, "The container image.", True, {"pattern": f"^{forms.IMAGE}$"})]
    replicas: Annotated[Field[int], Key("replicas", integer, "How many pods may share the work; 1 by default.")]
    gpu: Annotated[Field[bool], Key("gpu", boolean, "Whether each pod needs a GPU; false by default.")]
    config: Annotated[Field[Texts], Key("config", texts, "What the process is told.")]
    object_store: Annotated[
        Field[ObjectStoreDraft],
        Key("objectStore", record(ObjectStoreDraft), "An object store that the process uses."),
    ]
    secrets: Annotated[
        Field[tuple[Field[str], ...]],
        Key(
            "secrets", each_or_empty_map(text), "Names of Kubernetes Secrets, whose keys become environment variables."
        ),
    ]
    subscriptions: Annotated[
        Field[tuple[Field[str], ...]],
        Key("subscriptions", each(text), "Whose messages it takes: PROCESS or PROCESS.CHANNEL."),
    ]
    networking: Annotated[
        Field[NetworkingDraft], Key("networking", record(NetworkingDraft), "How the process is reached.")
    ]
    resources: Annotated[
        Field[ResourcesDraft], Key("resourceLimits", record(ResourcesDraft), "What each pod may use.", True)
    ]
    node_selectors: Annotated[
        Field[Texts], Key("nodeSelectors", texts, "Labels of the Kubernetes nodes that the pods may run on.")
    ]
    extension: Annotated[
        Field[ProcessExtension],
        Key(EXTENSION, record(ProcessExtension, extension=EXTENSION), "What Airflow is told of the task."),
    ]


@dataclass(frozen=True, slots=True)
class WorkflowExtension:
    """A workflow's ``x-airflow``."""

    schedule: Annotated[
        Field[str],
        Key("schedule", costly(text, 100), "A cron string or a preset, as Airflow takes them.", False, _SOME),
    ]
    timezone: Annotated[
        Field[str],
        Key("timezone", text, "The time zone of the schedule, such as Europe/Madrid; UTC by default.", False, _SOME),
    ]
    start_date: Annotated[
        Field[datetime], Key("start_date", moment, "When the schedule begins; 2020-01-01 by default.")
    ]
    end_date: Annotated[Field[datetime], Key("end_date", moment, "When the schedule ends; never by default.")]
    catchup: Annotated[
        Field[bool], Key("catchup", boolean, "Whether runs since start_date are made up for; false by default.")
    ]
    max_active_runs: Annotated[
        Field[int],
        Key(
            "max_active_runs",
            integer,
            "How many runs may be active at once.",
            False,
            {"minimum": 1, "maximum": _INT32 - 1},
        ),
    ]
    messages_per_run: Annotated[
        Field[int],
        Key(
            "messages_per_run",
            integer,
            "How many trigger messages a run may take; 1 by default.",
            False,
            {"minimum": 1, "maximum": 10_000},
        ),
    ]
    mode: Annotated[
        Field[str],
        Key("mode", text, "batch: a run launches the processes. stream: they live on.", False, _one_of(Mode)),
    ]
    access_control: Annotated[
        Field[Table[tuple[Field[str], ...]]],
        Key("access_control", table(each(text)), "What roles may do with the DAG: can_read, can_edit, can_delete."),
    ]


@dataclass(frozen=True, slots=True)
class WorkflowDraft:
    """One of ``workflows``."""

    name: Annotated[Field[str], Key("name", text, "Unique in the file; part of the DAG's id.", True, _NAME)]
    type: Annotated[
        Field[str],
        Key("type", text, "data and training run in batch, serving and feedback live on.", True, _one_of(WorkflowType)),
    ]
    config: Annotated[Field[Texts], Key("config", texts, "What all its processes are told.")]
    processes: Annotated[
        Field[tuple[Field[ProcessDraft], ...]],
        Key("processes", each(record(ProcessDraft)), "At least a trigger and an exit.", True, {"minItems": 1}),
    ]
    extension: Annotated[
        Field[WorkflowExtension],
        Key(EXTENSION, record(WorkflowExtension, extension=EXTENSION), "What Airflow is told of the DAG."),
    ]


@dataclass(frozen=True, slots=True)
class ProductExtension:
    """The document's ``x-airflow``."""

    product: Annotated[
        Field[str],
        Key(
            "product",
            text,
            "The product's name; that of the file or folder where it is missing.",
            False,
            {"pattern": f"^({forms.NAME})$", "maxLength": forms.LONGEST_PRODUCT},
        ),
    ]
    owner: Annotated[
        Field[str], Key("owner", text, "The owner of the DAGs and tasks.", False, {**_SOME, "maxLength": 500})
    ]
    tags: Annotated[
        Field[tuple[Field[str], ...]], Key("tags", each(text), "More tags of the DAGs.", False, {"items": _TAG})
    ]
    namespace: Annotated[
        Field[str],
        Key(
            "namespace",
            text,
            "The Kubernetes namespace of the pods; the connection's by default.",
            False,
            {"pattern": f"^({forms.NAME})$", "maxLength": forms.LONGEST_LABEL},
        ),
    ]
    version_in_dag_id: Annotated[
        Field[bool],
        Key("version_in_dag_id", boolean, "Whether DAG ids end with the version, so that two stand side by side."),
    ]


@dataclass(frozen=True, slots=True)
class ProductDraft:
    """The document."""

    version: Annotated[Field[str], Key("version", text, "The version of the product: v1.0.0.", True, _VERSION)]
    description: Annotated[Field[str], Key("description", text, "What the product does.", True, _SOME)]
    config: Annotated[Field[Texts], Key("config", texts, "What all processes of the product are told.")]
    workflows: Annotated[
        Field[tuple[Field[WorkflowDraft], ...]],
        Key("workflows", each(record(WorkflowDraft)), "Each becomes a DAG.", True, {"minItems": 1}),
    ]
    extension: Annotated[
        Field[ProductExtension],
        Key(EXTENSION, record(ProductExtension, extension=EXTENSION), "What Airflow is told of all DAGs of the file."),
    ]


KEYS = frozenset(
    key.name
    for draft in (
        ProductDraft,
        ProductExtension,
        WorkflowDraft,
        WorkflowExtension,
        ProcessDraft,
        ProcessExtension,
        ObjectStoreDraft,
        NetworkingDraft,
        ResourcesDraft,
        LimitsDraft,
    )
    for key in keys_of(draft).values()
)
"""Every key that means something in a KRT."""
