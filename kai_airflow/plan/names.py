"""Every name that kai-airflow gives or expects in NATS, Kubernetes and Airflow.

KAI's own names are those of section 2 of the KAI reference; an image finds its streams, consumers and buckets by them,
so none may change. Names of KRT things (product, workflow, process) are lower case letters, digits and dashes; NATS
names of this project's own begin with upper case, so the two can never meet.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from collections.abc import Iterable

Stream = NewType("Stream", str)
Subject = NewType("Subject", str)
Consumer = NewType("Consumer", str)
Bucket = NewType("Bucket", str)
DagId = NewType("DagId", str)
Deployment = NewType("Deployment", str)

RUNS = "RUNS"
BRIDGE = "BRIDGE"
DEAD_LETTERS = Stream("DEADLETTERS")

LONGEST_DAG_ID = 250
LONGEST_TAG = 100
LONGEST_LABEL = 63  # of Kubernetes; so are the names of Services
LONGEST_STREAM = 255
LONGEST_BUCKET = LONGEST_STREAM - len("OBJ_")  # a bucket is a stream of that name, or of KV_ before it
_DIGEST = 8
_LETTERS = "kai-"
_VERSION_INSIDE = re.compile(r"-v[0-9]+-[0-9]+-[0-9]+(-|$)")


def shortened(name: str, longest: int) -> str:
    """A name as it is where it fits, else its beginning and a hash of all of it."""
    return name if len(name) <= longest else _hashed(name, name, longest)


def _hashed(name: str, origin: str, longest: int) -> str:
    digest = hashlib.sha256(origin.encode()).hexdigest()[:_DIGEST]
    return f"{name[: longest - _DIGEST - 1].rstrip('-_.')}-{digest}"


def underscored(version: str) -> str:
    """The version as NATS names carry it: ``v1.0.0`` is ``v1_0_0``."""
    return version.replace(".", "_")


def dag_id(product: str, workflow: str, version: str | None) -> DagId:
    """The DAG of a workflow; with its version where several stand side by side."""
    return DagId(shortened(".".join([product, workflow, *([version] if version else [])]), LONGEST_DAG_ID))


def tags(product: str, version: str, kind: str, further: Iterable[str]) -> tuple[str, ...]:
    """The tags of a workflow's DAG, each once."""
    own = ("kai", f"product:{product}", f"type:{kind}", shortened(f"version:{version}", LONGEST_TAG))
    return tuple(dict.fromkeys([*own, *further]))


def label(value: str) -> str:
    """A value as a label of Kubernetes, or of DNS: both take as much."""
    return shortened(value, LONGEST_LABEL)


def ingress(product: str) -> str:
    """The Ingress of a product; no Deployment is named so, since those hold a version."""
    return product.replace(".", "-")


def published_host(name: str, domain: str) -> str:
    """The host below a domain that a product's HTTP triggers share, or that one gRPC trigger has.

    It is KAI's, with a hash where that is too long for DNS.
    """
    return f"{label(name.replace('.', '-'))}.{domain}"


def published_path(workflow: str, process: str) -> str:
    """Where an HTTP trigger is reached on its product's host."""
    return f"/{workflow}-{process}"


def live_stream(product: str, version: str, workflow: str) -> Stream:
    """KAI's stream of a workflow, where its long-lived processes meet."""
    return Stream(shortened(f"{product}_{underscored(version)}_{workflow}", LONGEST_STREAM))


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


def reply_consumer(subject: Subject, process: str, unique: str) -> Consumer:
    """The consumer that one running copy of a trigger has for one of its inputs: each copy gets all replies."""
    return Consumer(f"{consumer(subject, process)}-{unique}")


def versions_of(stream: Stream, version: str) -> re.Pattern[str]:
    """Matches the live streams of a workflow in all its versions, of which ``stream`` is the one of ``version``."""
    before, own, after = stream.partition(f"_{underscored(version)}_")
    return re.compile(rf"{re.escape(before)}_v[0-9]+_[0-9]+_[0-9]+_{re.escape(after)}") if own else re.compile("(?!)")


def bridge_subjects(stream: Stream) -> Subject:
    """All that the bridge keeps of its own in KAI's stream: no process has a name in upper case."""
    return Subject(f"{stream}.{BRIDGE}.>")


def groups_subject(stream: Stream, trigger: str) -> Subject:
    """Where it is written down which messages of a trigger share a run."""
    return Subject(f"{stream}.{BRIDGE}.groups.{trigger}")


def answer_subject(stream: Stream, sequence: int | str) -> Subject:
    """Where it is written down that the run of the message with this sequence was answered; ``*`` for all."""
    return Subject(f"{stream}.{BRIDGE}.answers.{sequence}")


def settled_subject(stream: Stream, sequence: int | str) -> Subject:
    """Where it is written down that somebody dropped or redrove the dead letter of this message; ``*`` for all."""
    return Subject(f"{stream}.{BRIDGE}.settled.{sequence}")


def intake_consumer(trigger: str, created: str) -> Consumer:
    """The bridge's consumer of a trigger's messages, in the stream that was made at this moment and in no later one."""
    return Consumer(f"{BRIDGE}-messages-{trigger}-{created}")


def groups_consumer(trigger: str, created: str) -> Consumer:
    """The bridge's consumer of the groups that were written down for a trigger."""
    return Consumer(f"{BRIDGE}-groups-{trigger}-{created}")


def dead_letter_subject(stream: Stream, created: str, sequence: int | str) -> Subject:
    """Where a message that can't become a run is kept, one subject each, so that it is there once; ``*``: any."""
    return Subject(f"{DEAD_LETTERS}.{stream}.{created}.{sequence}")


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
    return _bucket(f"key-store_{product}_{underscored(version)}")


def workflow_bucket(product: str, version: str, workflow: str) -> Bucket:
    """The key-value bucket of a workflow."""
    return _bucket(f"key-store_{product}_{underscored(version)}_{workflow}")


def process_bucket(product: str, version: str, workflow: str, process: str) -> Bucket:
    """The key-value bucket of a process."""
    return _bucket(f"key-store_{product}_{underscored(version)}_{workflow}_{process}")


def object_store(product: str, version: str, workflow: str, name: str, scope: str) -> Bucket:
    """The object store that a process declares, shared by its product or its workflow."""
    owner = f"{product}_{underscored(version)}"
    return _bucket(f"{owner}_{name}" if scope == "product" else f"{owner}_{workflow}_{name}")


def _bucket(name: str) -> Bucket:
    return Bucket(shortened(name, LONGEST_BUCKET))


def deployments(product: str, version: str, processes: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Deployment]:
    """The Deployment and Service of each process, by workflow and process, no two alike.

    They are KAI's names, with a hash where those are too long for Kubernetes, or where two are the same: workflow
    ``x-y`` and process ``z``, workflow ``x`` and process ``y-z``. A product whose name holds what looks like a version
    has hashes everywhere, since another product's names could be the same. So has one whose name begins with a digit,
    and ``kai-`` before it: Services may be named so only since Kubernetes 1.36.
    """
    first = f"{_LETTERS}{product}" if product[0].isdigit() else product
    plain = {key: f"{first}-{version}-{'-'.join(key)}".replace(".", "-") for key in processes}
    everywhere = first != product or _VERSION_INSIDE.search(product) is not None
    marked = {key for key, name in plain.items() if everywhere or len(name) > LONGEST_LABEL}
    while True:
        given = {key: _marked(name, product, version, key) if key in marked else name for key, name in plain.items()}
        count = Counter(given.values())
        alike = {key for key, name in given.items() if count[name] > 1} - marked
        if not alike:
            return {key: Deployment(name) for key, name in given.items()}
        marked |= alike


def _marked(name: str, product: str, version: str, key: tuple[str, str]) -> str:
    return _hashed(name, "/".join([product, version, *key]), LONGEST_LABEL)
