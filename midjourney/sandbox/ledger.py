"""What was really asked, answered, started and sent: the judge in tests."""

import contextlib
from collections import Counter
from collections.abc import Iterator

import msgspec

KINDS = (
    "imagine",
    "action",
    "modal",
    "change",
    "blend",
    "describe",
    "shorten",
    "edit",
    "video",
    "swap",
    "show",
)

_BASE64_FIELDS = frozenset(
    {"base64", "base64Array", "maskBase64", "image", "endImage", "sourceBase64", "targetBase64"}
)
_BASE64_SHOWN = 40  # characters; enough for the media type and to tell two images apart


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One submit request and its answer. `code` is None where the request could not be read (HTTP 400)."""

    number: int  # 1 is the first since the start
    path: str
    body: object  # the JSON as received, images shortened; the text where it was not JSON
    code: int | None
    result: str | None
    at_ms: int  # epoch milliseconds


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger as `GET /sandbox/ledger` shows it."""

    submissions: list[Submission]
    billed: dict[str, int]
    questions: dict[str, int]
    callbacks: int
    callbacks_taken: int
    running_max: int
    submitting_max: int


class Ledger:
    """Grows for as long as the sandbox runs; nothing in it is ever taken back."""

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.billed: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.questions: Counter[str] = Counter()
        self.callbacks = 0
        self.callbacks_taken = 0
        self.running_max = 0
        self.submitting_max = 0
        self._submitting = 0

    def record(self, *, path: str, body: bytes, code: int | None, result: str | None, at_ms: int) -> None:
        """Every submit request, refused ones too, in the order of the answers."""
        number = len(self.submissions) + 1
        self.submissions.append(
            Submission(number=number, path=path, body=_readable(body), code=code, result=result, at_ms=at_ms)
        )

    @contextlib.contextmanager
    def submitting(self) -> Iterator[None]:
        """A submit request is under way, from its first byte to its answer."""
        self._submitting += 1
        self.submitting_max = max(self.submitting_max, self._submitting)
        try:
            yield
        finally:
            self._submitting -= 1

    def bill(self, kind: str) -> None:
        """A job was started or queued: this is what a user of the real server would pay for."""
        self.billed[kind] += 1

    def count_question(self, path: str) -> None:
        """A task, or a list of them, was asked for: "task/{id}/fetch", "task/list-by-condition" …"""
        self.questions[path] += 1

    def count_callback(self) -> None:
        """A POST to a hook was begun, whatever became of it."""
        self.callbacks += 1

    def count_callback_taken(self) -> None:
        """A POST to a hook was answered 2xx: whoever answered so has it, and is not told again."""
        self.callbacks_taken += 1

    def count_running(self, jobs: int) -> None:
        """So many jobs run at this moment."""
        self.running_max = max(self.running_max, jobs)

    def report(self) -> Report:
        """What stands in the ledger now."""
        return Report(
            submissions=list(self.submissions),
            billed=dict(self.billed),
            questions=dict(self.questions),
            callbacks=self.callbacks,
            callbacks_taken=self.callbacks_taken,
            running_max=self.running_max,
            submitting_max=self.submitting_max,
        )


def _readable(body: bytes) -> object:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _short(body.decode(errors="replace"))
    if not isinstance(decoded, dict):
        return decoded
    return {key: _short(value) if key in _BASE64_FIELDS else value for key, value in decoded.items()}


def _short(value: object) -> object:
    if isinstance(value, list):
        return [_short(item) for item in value]
    if isinstance(value, str) and len(value) > _BASE64_SHOWN:
        return f"{value[:_BASE64_SHOWN]}… ({len(value)} characters)"
    return value
