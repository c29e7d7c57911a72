"""Writes what became of the rows of a batch, as CSV or JSON lines. The file is whole or is not there."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from hookchain.cli.batch_progress import is_failed
from hookchain.cli.batch_rows import Row
from hookchain.settings.conversion import SettingsError
from hooks.api.known_answers import KnownSubmission

_FORMATS = (".csv", ".jsonl", ".ndjson")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one row. `status` is its task's, or its submission's state, or "not submitted"."""

    row: int
    prompt: str
    state: str
    upstream: str
    submission: str
    task: str
    status: str
    image_url: str
    failure: str
    cost: float


def result_of(row: Row, known: KnownSubmission | None, problem: str = "") -> Result:
    """The result of a row; `problem` is why it was not submitted."""
    task = known.task if known is not None else None
    failure = problem
    if known is not None:
        failure = ((task.fail_reason if task is not None else "") or known.reason) if is_failed(known) else ""
    status = "not submitted" if known is None else known.state if task is None else task.status
    return Result(
        row=row.line,
        prompt=row.prompt,
        state=row.state,
        upstream=known.upstream if known is not None else row.upstream,
        submission=known.id if known is not None else "",
        task=task.id if task is not None else "",
        status=status,
        image_url=task.image_url if task is not None else "",
        failure=failure,
        cost=known.cost if known is not None else 0.0,
    )


def check_output(output: Path, source: str) -> None:
    """Raise `SettingsError`, before anything is submitted, if the results could not be written there."""
    if output.suffix not in _FORMATS:
        raise SettingsError(f"--output {output}: write a name that ends with {', '.join(_FORMATS)}")
    if output.is_dir() or not output.parent.is_dir() or not os.access(output.parent, os.W_OK):
        raise SettingsError(f"--output {output}: no file can be written there")
    if source != "-" and output.exists() and output.samefile(source):
        raise SettingsError(f"--output {output} is the file with the prompts; choose another name")


def write_results(
    output: Path, rows: Iterable[Row], known: Mapping[str, KnownSubmission], problems: Mapping[str, str]
) -> None:
    """Write the results of all rows, or leave the file as it was. Raises `SettingsError`."""
    results = (result_of(row, known.get(row.key), problems.get(row.key, "")) for row in rows)
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=output.parent, prefix=f".{output.name}.", encoding="utf-8", newline="", delete=False
        ) as file:
            try:
                for text in _csv(results) if output.suffix == ".csv" else _json_lines(results):
                    file.write(text)
                file.flush()
                os.fsync(file.fileno())
                mask = os.umask(0)
                os.umask(mask)
                Path(file.name).chmod(0o666 & ~mask)
                Path(file.name).replace(output)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise SettingsError(f"--output {output}: {error.strerror}") from error


def _csv(results: Iterable[Result]) -> Iterable[str]:
    yield _line(Result.__struct_fields__)
    for result in results:
        values = msgspec.structs.asdict(result)
        # The upstream's words: a spreadsheet would calculate them.
        if result.failure.startswith(_FORMULA):
            values["failure"] = f"'{result.failure}"
        yield _line([f"{value:g}" if isinstance(value, float) else str(value) for value in values.values()])


def _line(values: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _json_lines(results: Iterable[Result]) -> Iterable[str]:
    for result in results:
        yield msgspec.json.encode(result).decode() + "\n"
