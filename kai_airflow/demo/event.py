"""A sample of what starts the example, and the result that it must have."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from kai_airflow.demo.learning import Json, compare, split, train
from kai_airflow.demo.webhook import request_of

FOLDERS = ("api", "cmd/server", "internal/store", "pkg/nats", "scripts", "tests/unit", "training/models")
STEMS = ("client", "config", "handler", "loader", "metrics", "model", "runner", "store_test", "test_loader", "utils")
SUFFIXES = (".go", ".go", ".go", ".py", ".py", ".py", ".md", ".yaml")


def push_event(seed: int) -> dict[str, Any]:
    """A push event as github-trigger sends it; the same one for the same seed. It changes Go and Python files."""
    return request_of("push", posted(seed))


def posted(seed: int) -> bytes:
    """What GitHub posts for it, cut to what matters here."""
    random = Random(seed)
    commits = [_commit(random) for _ in range(random.randint(3, 6))]
    commits[0]["added"] += ["cmd/server/main.go", "training/main.py"]
    event = {
        "ref": "refs/heads/main",
        "before": _sha(random),
        "after": commits[-1]["id"],
        "repository": {
            "name": "github-trainer",
            "full_name": "konstellation/github-trainer",
            "url": "https://github.com/konstellation/github-trainer",
        },
        "pusher": {"name": "octocat"},
        "commits": commits,
    }
    return json.dumps(event).encode()


def expected(request: Json) -> dict[str, Any] | None:
    """What ``exit`` publishes for this request; None where it changes no file that anybody trains on.

    :raises ValueError: not a push event
    """
    results = [train(job) for job in split(request)]
    return compare(results) if results else None


def _commit(random: Random) -> dict[str, Any]:
    files = sorted({_path(random) for _ in range(random.randint(6, 12))})
    added = [file for file in files if "test" in file or random.random() < 0.3]
    return {
        "id": _sha(random),
        "message": f"Change {len(files)} files",
        "added": added,
        "removed": [],
        "modified": [file for file in files if file not in added],
    }


def _path(random: Random) -> str:
    return f"{random.choice(FOLDERS)}/{random.choice(STEMS)}{random.choice(SUFFIXES)}"


def _sha(random: Random) -> str:
    return f"{random.getrandbits(160):040x}"
