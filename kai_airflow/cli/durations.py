"""Times that are given on the command line."""

from __future__ import annotations

import argparse
import math


def seconds(text: str) -> float:
    """Seconds, for argparse: a number, 0 or more. Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds: 0 or more")
    return number
