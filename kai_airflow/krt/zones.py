"""Time zones by their names in the IANA database, from the system or from the package tzdata."""

from __future__ import annotations

from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

_LONGEST = 64
_OTHERS = frozenset({"Factory", "localtime", "posixrules"})
"""What lies beside the time zones, and is another one on each machine."""


@lru_cache(maxsize=256)
def is_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    if len(name) > _LONGEST or name in _OTHERS or name.startswith(("posix/", "right/")):
        return False
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # no such file, no name of a file, a folder
        return False
    return True


def zone_meant(name: str) -> str | None:
    """The zone whose name, or last part of it, is this one whatever its case and spaces."""
    return _by_ending().get(name.casefold().replace(" ", "_"))


@cache
def _by_ending() -> dict[str, str]:
    zones = sorted(available_timezones(), reverse=True)
    return {zone.rpartition("/")[2].casefold(): zone for zone in zones} | {zone.casefold(): zone for zone in zones}
