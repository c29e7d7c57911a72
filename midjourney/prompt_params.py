"""The parameters of a prompt as values: numbers as numbers, flags as true, spellings and defaults known. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import gcd

from midjourney.prompts import KINDS, NUMBER, RATIO, canonical, parse

ParamValue = str | int | float | bool

LONGEST = 16_000
"""The most characters of a prompt whose parameters are read. Midjourney accepts prompts of some 6,000."""

DEFAULTS: dict[str, ParamValue] = {
    "ar": "1:1",
    "chaos": 0,
    "weird": 0,
    "stylize": 100,
    "quality": 1,
    "stop": 100,
    "repeat": 1,
    "exp": 0,
    **{name: False for name, kind in KINDS.items() if kind == "flag"},
}
"""Values of a prompt without the parameter, where they do not depend on the version or the account's settings. Sources:
docs.midjourney.com "Parameter List", and the prompt guides of versions 7 and 8.1 at docs.evolink.ai."""

_LONGEST_NUMBER = 18


class Params(Mapping[str, ParamValue]):
    """The parameters of a prompt by name, in any spelling: `params.ar`, `params["aspect"]`.

    An attribute is None if the prompt lacks the parameter and no default is known.
    """

    def __init__(self, values: Mapping[str, ParamValue]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> ParamValue:
        return self._values[canonical(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> ParamValue | None:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._values.get(canonical(name))

    def __repr__(self) -> str:
        return f"Params({self._values!r})"


def params_of(prompt: str) -> Params:
    """The parameters of a prompt, with defaults. Empty for a prompt that is empty or too long.

    If a parameter occurs more than once, the last counts.
    """
    if not prompt.strip() or len(prompt) > LONGEST:
        return Params({})
    written = {
        parameter.name: _value(parameter.name, parameter.value) for parameter in parse(prompt).parameters
    }
    return Params(DEFAULTS | written)


def words_of(prompt: str) -> str:
    """The text of a prompt without parameters and links; unchanged if it is too long."""
    return parse(prompt).words if len(prompt) <= LONGEST else prompt


def _value(name: str, text: str) -> ParamValue:
    kind = KINDS.get(name, "rest")
    if kind == "flag" or not text:
        return True
    if kind == "ratio" and (ratio := RATIO.fullmatch(text)) is not None:
        wide, high = int(ratio[1]), int(ratio[2])
        common = gcd(wide, high) or 1
        return f"{wide // common}:{high // common}"
    if kind == "number" and len(text) <= _LONGEST_NUMBER and NUMBER.fullmatch(text) is not None:
        number = float(text)
        return int(number) if number.is_integer() else number
    return text
