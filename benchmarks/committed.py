"""Compare a run with the committed figures. Pure: figures come in, falls go out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks.measures import Figures

FILE = Path(__file__).parent / "committed_figures.json"

SHARE_LOST = 1 / 3
"""A figure that lost more than this share of what was committed has fallen."""

Ratios = Mapping[str, Sequence[float]]
"""For each name, what each round did for each request that the bare route answered in the same round."""


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is compared with. `ratios`: medians, by name. `cores`: of the machine that was measured."""

    date: str
    release: str
    cores: int
    rounds: int
    ratios: dict[str, float]


class Fall(msgspec.Struct, frozen=True, kw_only=True):
    """A figure that fell by more than a third."""

    name: str
    committed: float
    measured: float

    def __str__(self) -> str:
        lost = 1 - self.measured / self.committed
        return f"{self.name} fell by {lost:.0%}: {self.measured:.4f} of the bare route, and {self.committed:.4f} when it was committed"


def read(path: Path = FILE) -> Committed:
    """The committed figures. Raises FileNotFoundError, or msgspec.ValidationError if they are not understood."""
    return msgspec.json.decode(path.read_bytes(), type=Committed)


def write(committed: Committed, path: Path = FILE) -> None:
    """Write the file anew, so that a change shows line by line."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(committed), indent=2) + b"\n")


def ratios_of(ours: Sequence[Figures], bare: Sequence[Figures]) -> dict[str, list[float]]:
    """Ingest and follow-ups for each request of the bare route, round by round, per second in which others left us the core.

    The two of a round were measured one after the other, so a machine that is slow for a while slows both.
    """
    pairs = [
        (one, other.ingest_core_rate) for one, other in zip(ours, bare, strict=True) if other.ingest_core_rate
    ]
    return {
        "ingest": [one.ingest_core_rate / rate for one, rate in pairs if one.ingest_core_rate],
        "follow-ups": [one.follow_up_core_rate / rate for one, rate in pairs if one.follow_up_core_rate],
    }


def medians(ratios: Ratios) -> dict[str, float]:
    """Four significant digits each. Raises RuntimeError if a figure was not measured in any round."""
    if empty := [name for name, values in ratios.items() if not values]:
        raise RuntimeError(f"not measured: {', '.join(empty)}")
    return {name: float(f"{statistics.median(values):.4g}") for name, values in ratios.items()}


def falls(committed: Committed, ratios: Ratios) -> list[Fall]:
    """The figures whose median is below two thirds of what was committed. A figure that is new has not fallen."""
    return [
        Fall(name=name, committed=committed.ratios[name], measured=measured)
        for name, measured in medians(ratios).items()
        if name in committed.ratios and measured < committed.ratios[name] * (1 - SHARE_LOST)
    ]
