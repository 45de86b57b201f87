"""What the example's processes compute: pure functions of JSON, so that a payload determines the result.

Two models of different kinds learn the same thing from the files that a push changed: whether a file is new, judged by
its path alone. Go files train a perceptron, Python files a logistic regression; the more accurate one wins.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from random import Random
from typing import Any, TypeAlias

Json: TypeAlias = Any
Features: TypeAlias = tuple[float, ...]
Example: TypeAlias = tuple[Features, int]
Weights: TypeAlias = list[float]
Step: TypeAlias = Callable[[float], float]

LANGUAGES = {".go": "go", ".py": "py"}
CHANGES = ("modified", "added")  # in one commit the latter wins
FOLDS = 4  # a model is tested on the examples that it did not see: each time another quarter
EPOCHS = 100
RATE = 0.1


def split(request: Json) -> list[dict[str, Any]]:
    """One training job for each language in which a push changed files; ``body`` of the request holds the event.

    Each names all the languages, so that whoever compares knows what to wait for.

    :raises ValueError: not a push event
    """
    files = _changed(request)
    by_language = {
        language: {path: change for path, change in files.items() if PurePosixPath(path).suffix == suffix}
        for suffix, language in LANGUAGES.items()
    }
    present = sorted(language for language, chosen in by_language.items() if chosen)
    return [{"language": language, "languages": present, "files": by_language[language]} for language in present]


def train(job: dict[str, Any]) -> dict[str, Any]:
    """How well the language's model learns from a job's files: its accuracy on files that it has not seen, 0 to 1."""
    model, step = MODELS[job["language"]]
    examples = [(_features(path), int(change == "added")) for path, change in sorted(job["files"].items())]
    random = Random(hashlib.sha256(json.dumps(job["files"], sort_keys=True).encode()).digest())
    random.shuffle(examples)
    right = sum(_tested(examples, fold, step, random) for fold in range(FOLDS))
    return {
        "language": job["language"],
        "languages": job["languages"],
        "model": model,
        "examples": len(examples),
        "accuracy": round(right / len(examples), 6),
    }


def compare(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The language whose model is more accurate; of two that are alike the first in the alphabet."""
    scores = dict(sorted((result["language"], result["accuracy"]) for result in results))
    return {"winner": min(scores, key=lambda language: (-scores[language], language)), "scores": scores}


def _changed(request: Json) -> dict[str, str]:
    """Path to ``added`` or ``modified``; a file that is added and modified afterwards is added."""
    match request:
        case {"body": {"commits": [*commits]}} if all(isinstance(commit, dict) for commit in commits):
            changed: dict[str, str] = {}
            for commit in commits:
                changed = {path: change for change in CHANGES for path in commit.get(change) or ()} | changed
            return changed
    raise ValueError('not a GitHub push event: its "body" has no list "commits" of objects')


def _features(path: str) -> Features:
    file = PurePosixPath(path)
    letters = len(path)
    return (
        1.0,
        len(file.parts) / 4,
        letters / 40,
        sum(letter in "aeiou" for letter in path) / letters,
        float("test" in path),
        float(file.stem == "main"),
    )


def _tested(examples: Sequence[Example], fold: int, step: Step, random: Random) -> int:
    """How many examples of a fold the model gets right that learned from the others."""
    weights = _trained([example for at, example in enumerate(examples) if at % FOLDS != fold], step, random)
    unseen = [example for at, example in enumerate(examples) if at % FOLDS == fold]
    return sum((_sum(weights, features) > 0) == bool(label) for features, label in unseen)


def _trained(examples: Sequence[Example], step: Step, random: Random) -> Weights:
    weights = [random.uniform(-0.1, 0.1) for _ in _features("any")]
    for _ in range(EPOCHS):
        for features, label in examples:
            error = label - step(_sum(weights, features))
            weights = [weight + RATE * error * feature for weight, feature in zip(weights, features, strict=True)]
    return weights


def _sum(weights: Weights, features: Features) -> float:
    return sum(weight * feature for weight, feature in zip(weights, features, strict=True))


def _sign(value: float) -> float:
    return float(value > 0)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


# Both learn by the same rule; what a model makes of the weighted sum is what tells them apart.
MODELS: dict[str, tuple[str, Step]] = {"go": ("perceptron", _sign), "py": ("logistic regression", _sigmoid)}
