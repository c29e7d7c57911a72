"""What an approval is about, in plain words and with its price. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from midjourney.prices import price_of
from midjourney.requests import Imagine, Modal, Shorten, decode_request
from storage.records import Submission

_PRESSES = ("action", "change", "simple_change")

LONGEST_PROMPT = 200
"""Characters of a prompt that are shown: a chat message need not have all of it."""


def wants(submissions: Sequence[Submission], prices: Mapping[str, Mapping[str, float]]) -> str:
    """What would be sent, such as `press U1, U2 (price: 0.2)`. The price is left out if none is known."""
    words = "; ".join(_parts(submissions)) or "nothing any more"
    total = price(submissions, prices)
    return f"{words} (price: {total:g})" if total else words


def price(submissions: Sequence[Submission], prices: Mapping[str, Mapping[str, float]]) -> float:
    """The price of all of them; 0.0 if the settings name no prices."""
    return sum(price_of(one.kind, one.request, prices.get(one.upstream, {})) for one in submissions)


def _parts(submissions: Sequence[Submission]) -> Iterator[str]:
    presses = [one.label for one in submissions if one.kind in _PRESSES]
    if presses:
        yield f"press {', '.join(presses)}"
    for one in submissions:
        if one.kind not in _PRESSES:
            yield _described(one)


def _described(submission: Submission) -> str:
    request = decode_request(submission.request)
    prompt = request.prompt if isinstance(request, Imagine | Modal | Shorten) else ""
    what = "answer the modal" if isinstance(request, Modal) else submission.kind
    return f"{what}: {_shortened(prompt)}" if prompt else what


def _shortened(prompt: str) -> str:
    return prompt if len(prompt) <= LONGEST_PROMPT else f"{prompt[:LONGEST_PROMPT]}…"
