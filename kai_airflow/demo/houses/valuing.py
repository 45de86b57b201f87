"""What the processes compute: a linear model of house prices, learned from sales. Pure functions of JSON."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Json: TypeAlias = Any
Vector: TypeAlias = list[float]

# What has to be known of a house: least, greatest, and what one more of it is worth where the sales come from.
FIELDS: dict[str, tuple[float, float, float]] = {
    "area": (15, 1000, 2100.0),  # square metres
    "rooms": (1, 30, 9000.0),
    "built": (1700, 2030, 450.0),  # year
    "distance": (0, 100, -3800.0),  # kilometres to the centre
}
SALES = 400
SEED = 3
BASE = -760_000.0  # of a price: the years count from 0
NOISE = 6_000.0  # its standard deviation
ROUNDED_TO = 100
RIDGE = 1e-6  # keeps what is to be solved from being singular


def house_of(request: Json) -> dict[str, float]:
    """The house that a call of the REST trigger asks for.

    :raises ValueError: saying what is wrong, in words for the caller
    """
    match request:
        case {"method": "POST", "body": str(body)}:
            return _checked(_read(body))
    raise ValueError(f"POST a house, as JSON: {', '.join(FIELDS)}")


def features(house: Mapping[str, float]) -> Vector:
    """A house as the model takes it: each field between 0 and 1, and 1 for what all have in common."""
    return [1.0, *((house[name] - least) / (most - least) for name, (least, most, _) in FIELDS.items())]


def learned() -> Vector:
    """The weights that fit the sales best: the normal equations, solved."""
    sales = [_sale(random) for random in [Random(SEED)] for _ in range(SALES)]
    rows, prices = [features(house) for house, _ in sales], [price for _, price in sales]
    size = len(rows[0])
    matrix = [[sum(row[i] * row[j] for row in rows) + RIDGE * (i == j) for j in range(size)] for i in range(size)]
    return _solved(matrix, [sum(row[i] * price for row, price in zip(rows, prices, strict=True)) for i in range(size)])


def price(weights: Vector, vector: Vector) -> int:
    """What a house is worth, rounded, and never less than nothing."""
    worth = sum(weight * feature for weight, feature in zip(weights, vector, strict=True))
    return max(0, round(worth / ROUNDED_TO) * ROUNDED_TO)


def _read(body: str) -> Json:
    try:
        return json.loads(base64.b64decode(body, validate=True))
    except (ValueError, RecursionError) as error:
        raise ValueError("the body is not JSON") from error


def _checked(house: Json) -> dict[str, float]:
    if not isinstance(house, dict):
        raise ValueError("the body is not a JSON object")
    for name, (least, most, _) in FIELDS.items():
        value = house.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"{name} has to be a number from {least:g} to {most:g}")
    return {name: house[name] for name in FIELDS}


def _sale(random: Random) -> tuple[dict[str, float], float]:
    house = {name: random.uniform(least, most) for name, (least, most, _) in FIELDS.items()}
    worth = sum(house[name] * each for name, (_, _, each) in FIELDS.items())
    return house, BASE + worth + random.gauss(0, NOISE)


def _solved(matrix: list[Vector], right: Vector) -> Vector:
    """Gaussian elimination with the largest pivot first."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for at in range(len(rows)):
        pivot = max(range(at, len(rows)), key=lambda row: abs(rows[row][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        rows[at] = [value / rows[at][at] for value in rows[at]]
        for row in range(len(rows)):
            if row != at:
                rows[row] = [mine - rows[row][at] * above for mine, above in zip(rows[row], rows[at], strict=True)]
    return [row[-1] for row in rows]
