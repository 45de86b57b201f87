"""Leases: what a client may say, as models."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from kai_airflow.local.kubernetes.metadata import Metadata, Model


def _time(value: str) -> str:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise PydanticCustomError("time", "must be a time such as 2006-01-02T15:04:05.000000Z")
    return value


MicroTime = Annotated[str, AfterValidator(_time)]


class LeaseSpec(Model):
    """Who holds the lease, since when and for how long."""

    missing = frozenset({"strategy", "preferredHolder"})
    holder_identity: str | None = None
    lease_duration_seconds: Annotated[int, Field(ge=1)] | None = None
    acquire_time: MicroTime | None = None
    renew_time: MicroTime | None = None
    lease_transitions: Annotated[int, Field(ge=0)] | None = None


class Lease(Model):
    """A Lease as a client describes it."""

    metadata: Metadata
    spec: LeaseSpec = LeaseSpec()
