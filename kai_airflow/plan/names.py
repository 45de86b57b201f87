"""Every name that kai-airflow gives or expects in NATS, Kubernetes and Airflow.

KAI's own names are those of section 2 of the KAI reference; an image finds its streams, consumers and buckets by them,
so none may change. Names of KRT things (product, workflow, process) are lower case letters, digits and dashes; NATS
names of this project's own begin with upper case, so the two can never meet.
"""

from __future__ import annotations

from typing import NewType

Stream = NewType("Stream", str)
Subject = NewType("Subject", str)
Consumer = NewType("Consumer", str)
Bucket = NewType("Bucket", str)
DagId = NewType("DagId", str)

RUNS = "RUNS"


def underscored(version: str) -> str:
    """The version as NATS names carry it: ``v1.0.0`` is ``v1_0_0``."""
    return version.replace(".", "_")


def dag_id(product: str, workflow: str) -> DagId:
    """The DAG of a workflow."""
    return DagId(f"{product}.{workflow}")


def live_stream(product: str, version: str, workflow: str) -> Stream:
    """KAI's stream of a workflow, where its long-lived processes meet."""
    return Stream(f"{product}_{underscored(version)}_{workflow}")


def live_subjects(stream: Stream, process: str) -> tuple[Subject, Subject]:
    """What a process may publish on in KAI's stream. KAI lists ``.*``; a channel may hold dots, hence ``.>``."""
    return output_subject(stream, process), Subject(f"{stream}.{process}.>")


def output_subject(stream: Stream, process: str) -> Subject:
    """Where a live process publishes; on channel ``c`` it appends ``.c``."""
    return Subject(f"{stream}.{process}")


def input_subject(stream: Stream, subscription: str) -> Subject:
    """What a live process that names this subscription listens to."""
    return Subject(f"{stream}.{subscription}")


def consumer(subject: Subject, process: str) -> Consumer:
    """The durable consumer and queue group that an SDK process binds to for one of its inputs."""
    return Consumer(f"{subject.replace('.', '-')}-{process}")


def run_stream(product: str, workflow: str) -> Stream:
    """The stream that holds the messages of a workflow's batch runs, whatever their version."""
    return Stream(f"{RUNS}_{product}_{workflow}")


def run_stream_subjects(stream: Stream) -> tuple[Subject]:
    """All that a run stream takes in."""
    return (Subject(f"{stream}.>"),)


def try_input(stream: Stream, try_id: str) -> Subject:
    """The one input of one try of a process."""
    return Subject(f"{stream}.in.{try_id}")


def try_output(stream: Stream, try_id: str, process: str) -> Subject:
    """Where one try of a process publishes; on channel ``c`` it appends ``.c``."""
    return Subject(f"{stream}.{try_id}.{process}")


def try_outputs(stream: Stream, try_id: str) -> Subject:
    """Everything that one try published, on whatever channel. A try id is a UUID, so it is never ``in``."""
    return Subject(f"{stream}.{try_id}.>")


def global_bucket(product: str) -> Bucket:
    """The key-value bucket that all versions of a product share."""
    return Bucket(f"key-store_{product}")


def version_bucket(product: str, version: str) -> Bucket:
    """The key-value bucket of a version."""
    return Bucket(f"key-store_{product}_{underscored(version)}")


def workflow_bucket(product: str, version: str, workflow: str) -> Bucket:
    """The key-value bucket of a workflow."""
    return Bucket(f"key-store_{product}_{underscored(version)}_{workflow}")


def process_bucket(product: str, version: str, workflow: str, process: str) -> Bucket:
    """The key-value bucket of a process."""
    return Bucket(f"key-store_{product}_{underscored(version)}_{workflow}_{process}")


def object_store(product: str, version: str, workflow: str, name: str, scope: str) -> Bucket:
    """The object store that a process declares, shared by its product or its workflow."""
    owner = f"{product}_{underscored(version)}"
    return Bucket(f"{owner}_{name}" if scope == "product" else f"{owner}_{workflow}_{name}")


def deployment(product: str, version: str, workflow: str, process: str) -> str:
    """KAI's name of a process's Deployment and Service."""
    return f"{product}-{version}-{workflow}-{process}".replace(".", "-")
