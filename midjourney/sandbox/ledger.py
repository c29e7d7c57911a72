"""A record of all requests, answers, jobs and callbacks, against which tests check what really happened."""

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
    "retexture",
    "video-swap",
)

_BASE64_FIELDS = frozenset(
    {"base64", "base64Array", "maskBase64", "image", "endImage", "sourceBase64", "targetBase64", "targetFile"}
)
# Characters; enough for the media type and to distinguish two images.
_BASE64_SHOWN = 40


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One submit request and its answer.

    `number` counts from 1 since the start. `body`: the received JSON with shortened images, or the text if it was not JSON.
    `code`: None if the request could not be decoded (HTTP 400). `at_ms`: epoch milliseconds.
    """

    number: int
    path: str
    body: object
    code: int | None
    result: str | None
    at_ms: int


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
    """Grows while the sandbox runs. Entries are never removed."""

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
        """Record a submit request, also a refused one. The order is that of the answers."""
        number = len(self.submissions) + 1
        self.submissions.append(
            Submission(number=number, path=path, body=_readable(body), code=code, result=result, at_ms=at_ms)
        )

    @contextlib.contextmanager
    def submitting(self) -> Iterator[None]:
        """Count a submit request as under way, from its first byte to its answer."""
        self._submitting += 1
        self.submitting_max = max(self.submitting_max, self._submitting)
        try:
            yield
        finally:
            self._submitting -= 1

    def bill(self, kind: str) -> None:
        """Count a job that was started or queued. A user of a real server pays for each of these."""
        self.billed[kind] += 1

    def count_question(self, path: str) -> None:
        """Count a request for a task or a list of tasks: "task/{id}/fetch", "task/list-by-condition" …"""
        self.questions[path] += 1

    def count_callback(self) -> None:
        """Count an attempted POST to a hook, whatever its result."""
        self.callbacks += 1

    def count_callback_taken(self) -> None:
        """Count a POST to a hook that was answered 2xx, so the receiver has it."""
        self.callbacks_taken += 1

    def count_running(self, jobs: int) -> None:
        """Note the number of jobs that run at this moment."""
        self.running_max = max(self.running_max, jobs)

    def report(self) -> Report:
        """The current content of the ledger."""
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
