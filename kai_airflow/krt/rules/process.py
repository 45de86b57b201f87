"""The rules of a process by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from kai_airflow.krt import forms
from kai_airflow.krt.model import Protocol, Scope
from kai_airflow.krt.quantities import amount
from kai_airflow.krt.rules import common
from kai_airflow.krt.rules.workflow import PROCESS_TYPES
from kai_airflow.krt.wording import listed, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.krt.draft import LimitsDraft, ProcessDraft
    from kai_airflow.krt.place import Field
    from kai_airflow.krt.report import Issue

SCOPES: tuple[str, ...] = get_args(Scope)
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
_LARGEST_PORT = 65535
_CORES = "Write cores, such as 500m, 0.5 or 2."
_BYTES = "Write bytes, such as 200M, 1.5Gi or 1000000."


def name(draft: ProcessDraft) -> Iterator[Issue]:
    """Required, KAI's form."""
    yield from common.name(draft.name, "process")


def type_is_known(draft: ProcessDraft) -> Iterator[Issue]:
    """Required, one of three."""
    yield from common.missing(draft.type, f"Write 'type:' with {listed(PROCESS_TYPES)}.")
    yield from common.one_of(draft.type, "invalid-process-type", "type of a process", PROCESS_TYPES)


def image(draft: ProcessDraft) -> Iterator[Issue]:
    """Required, and a reference that a container runtime can take apart."""
    yield from common.missing(draft.image, "Name the container image of the process.")
    if draft.image.value and not forms.is_image(draft.image.value):
        remedy = "Write [HOST[:PORT]/]PATH[:TAG], the path in lower case, such as registry.example.com/shop/pick:v1."
        yield draft.image.place.issue("invalid-image", f"{quoted(draft.image.value)} names no image", remedy)


def object_store(draft: ProcessDraft) -> Iterator[Issue]:
    """Where there is one: a name in KAI's form, and a scope."""
    store = draft.object_store.value
    if store:
        yield from common.name(store.name, "object store")
        yield from common.missing(store.scope, f"Write 'scope:' with {listed(SCOPES)}.")
        yield from common.one_of(store.scope, "invalid-scope", "scope of an object store", SCOPES)


def has_subscriptions(draft: ProcessDraft) -> Iterator[Issue]:
    """A task and an exit say what they listen to; an empty list is allowed, as in KAI."""
    if draft.type.value in ("task", "exit") and draft.subscriptions.absent:
        remedy = "List the processes whose messages it takes, as NAME or NAME.CHANNEL."
        yield from common.missing(draft.subscriptions, remedy)


def subscribes_to_nothing(draft: ProcessDraft) -> Iterator[Issue]:
    """An empty list is allowed, but such a process never gets a message."""
    if draft.type.value in ("task", "exit") and draft.subscriptions.value == ():
        message = f"the {draft.type.value} subscribes to nothing and so never gets a message"
        remedy = "List the processes whose messages it takes, as NAME or NAME.CHANNEL."
        yield draft.subscriptions.place.issue("no-subscriptions", message, remedy)


def networking(draft: ProcessDraft) -> Iterator[Issue]:
    """Where there is one: both ports, and a protocol that KAI knows."""
    net = draft.networking.value
    if net:
        yield from _port(net.target_port)
        yield from _port(net.destination_port)
        yield from common.one_of(net.protocol, "invalid-protocol", "protocol of a process", PROTOCOLS)


def resources(draft: ProcessDraft) -> Iterator[Issue]:
    """CPU and memory, each with a request, and with a limit not below it."""
    yield from common.missing(draft.resources, "Write 'resourceLimits:' with a request for CPU and for memory.")
    if draft.resources.value:
        yield from _limits(draft.resources.value.cpu, _CORES)
        yield from _limits(draft.resources.value.memory, _BYTES)


def replicas_are_none(draft: ProcessDraft) -> Iterator[Issue]:
    """KAI takes any number; with none, nothing would ever answer."""
    field = draft.replicas
    if field.value is not None and field.value < 1:
        yield field.place.issue(
            "invalid-replicas", f"{field.value} replicas count as 1", "Write 1, or remove the field."
        )


def ports_are_none(draft: ProcessDraft) -> Iterator[Issue]:
    """KAI takes any number but 0, which is the same as none to it; Kubernetes doesn't."""
    if not draft.networking.value:
        return
    for field in (draft.networking.value.target_port, draft.networking.value.destination_port):
        if field.value and not 1 <= field.value <= _LARGEST_PORT:
            remedy = f"Write a port from 1 to {_LARGEST_PORT}."
            yield field.place.issue("invalid-port", f"{field.value} is no port", remedy)


def memory_is_fractional(draft: ProcessDraft) -> Iterator[Issue]:
    """Kubernetes takes ``400m`` of memory as 0.4 bytes; whoever writes it means 400M."""
    memory = draft.resources.value.memory.value if draft.resources.value else None
    for field in (memory.request, memory.limit) if memory else ():
        if field.value and field.value[-1] in "num" and amount(field.value):
            message = f"{quoted(field.value)} is thousandths of a byte, or less"
            yield field.place.issue("fractional-memory", message, "Write M for megabytes, Mi for mebibytes.")


def node_selectors(draft: ProcessDraft) -> Iterator[Issue]:
    """Keys and values that Kubernetes takes as labels. KAI's location is that of the whole map."""
    selectors = draft.node_selectors
    for key, field in selectors.value.fields.items() if selectors.value else ():
        yield from common.label(key, field, field.place, selectors.place.location)


def secrets(draft: ProcessDraft) -> Iterator[Issue]:
    """Names that Kubernetes takes for Secrets."""
    for field in draft.secrets.value or ():
        if field.value is not None and not forms.is_host(field.value):
            message = f"{quoted(field.value)} is no name of a Kubernetes Secret"
            remedy = "Write the name of a Secret in the pods' namespace: lower case letters, digits, '-' and '.'."
            yield field.place.issue("invalid-secret-name", message, remedy)


def _port(field: Field[int]) -> Iterator[Issue]:
    yield from common.missing(field, f"Write a port from 1 to {_LARGEST_PORT}: networking needs both ports.")


def _limits(field: Field[LimitsDraft], remedy: str) -> Iterator[Issue]:
    yield from common.missing(field, f"Write a request and, where it differs, a limit. {remedy}")
    if not field.value:
        return
    request, limit = field.value.request, field.value.limit
    yield from common.missing(request, remedy)
    yield from _quantity(request, remedy)
    yield from _quantity(limit, remedy)
    least, most = amount(request.value or ""), amount(limit.value or "")
    if least is not None and most is not None and most < least:
        message = f"the limit {quoted(limit.value or '')} is below the request {quoted(request.value or '')}"
        advice = "Raise the limit, lower the request, or remove the limit: it then is the request."
        yield limit.place.issue("limit-below-request", message, advice, field.place.location)


def _quantity(field: Field[str], remedy: str) -> Iterator[Issue]:
    if field.value and amount(field.value) is None:
        yield field.place.issue("invalid-quantity", f"{quoted(field.value)} is no quantity of Kubernetes", remedy)
