"""`hookchain imagine --from FILE`: submits each row of a file once, however often it is run, and writes what became of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import typer

from hookchain.cli.api import CallFailed, Server
from hookchain.cli.batch_file import STDIN, read_table
from hookchain.cli.batch_images import check_images
from hookchain.cli.batch_progress import Counts, is_ended, shown_progress, states_of, summary
from hookchain.cli.batch_results import check_output, write_results
from hookchain.cli.batch_rows import Columns, Row, WrongRows, default_upstream, rows_of
from hookchain.cli.batch_sending import Broken, Sending
from hookchain.cli.output import say, say_json
from hookchain.printable import printable
from hookchain.settings.load import Settings, SettingsError
from hooks.api.known_answers import KnownSubmission, KnownSubmissions
from hooks.api.reports import Budgets, Upstreams
from midjourney.dialects import Dialect

ASKED_AT_ONCE = 500
POLL_S = 1.0
MOST_LOST = 30
"""How often in a row the server may not answer while rows are followed: it may be restarting."""


_BEYOND = "not submitted: it is beyond the limit of this command"
_UNSENT = ("refused", "dropped")
"""States in which asking again may still submit the row."""
_FREE = ("refused", "dropped", "rejected", "dead", "existed", "removed")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What all rows of the file together may cost, and how many may be submitted, those of earlier runs included."""

    budget: float | None = None
    at_most: int | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line. `name` is what makes the same row of another file another one."""

    file: str
    columns: Columns
    name: str = ""
    upstream: str = ""
    mode: str = ""
    limits: Limits = Limits()
    yes: bool = False
    follow: bool = False
    output: Path | None = None
    as_json: bool = False


def run_batch(settings: Settings, batch: Batch) -> None:
    """Submit the rows that were not submitted before. Raises `SettingsError` and `CallFailed`, and exits with 1 if a row failed."""
    if batch.file == STDIN and not (batch.name and batch.yes):
        raise SettingsError(
            "--from - needs --name NAME, by which its rows are known when you run it again, and --yes"
        )
    if batch.output is not None:
        check_output(batch.output, batch.file)
    table = read_table(batch.file)
    server = Server(settings)
    dialects = _dialects(server, settings)
    name = batch.name or Path(batch.file).name
    prices = {upstream: settings.prices.get(upstream, {}) for upstream in dialects}
    try:
        rows = rows_of(
            table,
            batch.columns,
            dialects,
            name=name,
            file=batch.file,
            upstream=batch.upstream,
            mode=batch.mode,
        )
        known = known_of(server, rows)
        missing = _missing(rows, known)
        # Not those of rows that were submitted: their addresses may have expired since.
        check_images(batch.file, missing, settings.upstreams)
    except WrongRows as error:
        for line in error.lines:
            say(printable(line), to_errors=True)
        raise
    chosen = _within(rows, missing, known, batch.limits, prices)
    problems = {row.key: _BEYOND for row in missing[len(chosen) :]}
    say(_plan(rows, missing, chosen, prices), to_errors=True)
    if chosen:
        _confirm(server, batch.yes)
    try:
        if chosen:
            problems |= _submit(server, chosen)
        known |= known_of(server, rows)
        if batch.follow:
            _follow(server, rows, known)
    except KeyboardInterrupt:
        _stopped(server, batch, rows, problems, "stopped", 130)
    except Broken as error:
        _stopped(server, batch, rows, problems, str(error), 1)
    _finish(batch, rows, known, problems)


def _dialects(server: Server, settings: Settings) -> dict[str, Dialect]:
    """The dialects of the server's upstreams. Raises `SettingsError` if this configuration lacks one."""
    dialects: dict[str, Dialect] = {}
    for one in server.get("/api/upstreams", Upstreams).upstreams:
        if one.dialect not in settings.dialects:
            raise SettingsError(
                f"the server's upstream {one.name} speaks {one.dialect}, which is not in this configuration; run the command "
                "in the server's folder"
            )
        dialects[one.name] = settings.dialects[one.dialect]
    return dialects


def _missing(rows: Sequence[Row], known: Mapping[str, KnownSubmission]) -> list[Row]:
    """The rows that are still to be submitted. One that a budget refused goes where it is kept as refused."""
    return [
        row if row.key not in known else msgspec.structs.replace(row, upstream=known[row.key].upstream)
        for row in rows
        if row.key not in known or known[row.key].state in _UNSENT
    ]


def known_of(server: Server, rows: Sequence[Row]) -> dict[str, KnownSubmission]:
    """What became of the rows that were submitted, by their keys."""
    found: dict[str, KnownSubmission] = {}
    for start in range(0, len(rows), ASKED_AT_ONCE):
        keys = [row.key for row in rows[start : start + ASKED_AT_ONCE]]
        answer = server.post("/api/submissions/known", KnownSubmissions, {"keys": keys})
        for one in answer.submissions:
            # The same key at two upstreams: the one that may have cost counts.
            if one.key not in found or found[one.key].state in _FREE:
                found[one.key] = one
    return found


def _within(
    rows: Sequence[Row],
    missing: Sequence[Row],
    known: Mapping[str, KnownSubmission],
    limits: Limits,
    prices: Mapping[str, Mapping[str, float]],
) -> Sequence[Row]:
    """The first of the missing rows, as many as the limits allow. Raises `SettingsError` if a price is needed and not known."""
    before = [
        row for row in rows if row.key in known and known[row.key].state not in (*_UNSENT, "rejected", "dead")
    ]
    if limits.at_most is not None:
        missing = missing[: max(0, limits.at_most - len(before))]
    if limits.budget is None:
        return missing
    left = limits.budget - sum(_price(known[row.key].upstream, prices) for row in before)
    for number, row in enumerate(missing):
        price = _price(row.upstream or default_upstream(prices), prices)
        if not price:
            upstream = row.upstream or default_upstream(prices)
            raise SettingsError(
                f"--budget needs the price of an imagine at {upstream}; write prices = {{ imagine = 0.05 }} in "
                f"[upstreams.{upstream}], or use --at-most"
            )
        left -= price
        if left < -1e-9:
            return missing[:number]
    return missing


def _price(upstream: str, prices: Mapping[str, Mapping[str, float]]) -> float:
    of_upstream = prices.get(upstream, {})
    return of_upstream.get("imagine", of_upstream.get("default", 0.0))


def _plan(
    rows: Sequence[Row],
    missing: Sequence[Row],
    chosen: Sequence[Row],
    prices: Mapping[str, Mapping[str, float]],
) -> str:
    each = [_price(row.upstream or default_upstream(prices), prices) for row in chosen]
    cost = f" for {sum(each):.4g}" if all(each) and each else " at an unknown price" if each else ""
    before = len(rows) - len(missing)
    parts = [f"{len(rows)} rows: {before} were submitted before, {len(chosen)} are to be submitted{cost}"]
    if len(chosen) < len(missing):
        parts.append(f"{len(missing) - len(chosen)} are beyond the limit of this command")
    return "; ".join(parts)


def _confirm(server: Server, yes: bool) -> None:
    """Show what is left of the budgets, and ask. Raises `SettingsError` if nobody can be asked."""
    for use in server.get("/api/budgets", Budgets).budgets:
        what = "" if use.measure == "spend" else " submissions"
        scope = f" of {use.scope}" if use.scope else ""
        say(
            printable(f"budget {use.budget}{scope}: {use.left:g}{what} left until {use.ends_at}"),
            to_errors=True,
        )
    if yes:
        return
    if not sys.stdin.isatty():
        raise SettingsError("nothing was submitted: add --yes to submit without being asked")
    if not typer.confirm("Submit them?", err=True):
        raise CallFailed("nothing was submitted")


def _submit(server: Server, chosen: Sequence[Row]) -> dict[str, str]:
    """Submit the rows. Returns the problems of those that could not be, by their keys."""
    problems: dict[str, str] = {}
    sending = Sending(server)
    counts = Counts(total=len(chosen))
    with closing(sending.send(chosen)) as sent_rows, shown_progress("submitting", counts) as progress:
        for sent in sent_rows:
            counts.done += 1
            if sent.problem:
                problems[sent.row.key] = sent.problem
                counts.failed += 1
            progress(counts)
    for row in chosen:
        if row.key in problems:
            say(printable(f"line {row.line}: {problems[row.key]}"), to_errors=True)
    return problems


def _follow(server: Server, rows: Sequence[Row], known: dict[str, KnownSubmission]) -> None:
    """Wait until the task of each submitted row has ended. Updates `known`."""
    submitted = [row for row in rows if row.key in known]
    counts, lost = states_of(submitted, known), 0
    with shown_progress("ended", counts) as progress:
        while counts.done < counts.total:
            # The API has no stream.
            time.sleep(POLL_S)
            still_open = [row for row in submitted if not is_ended(known[row.key])]
            try:
                known |= known_of(server, still_open)
            except CallFailed as error:
                lost += 1
                if 0 < error.status < 500 or lost > MOST_LOST:
                    raise Broken(str(error)) from error
                continue
            lost = 0
            counts = states_of(submitted, known)
            progress(counts)


def _stopped(
    server: Server, batch: Batch, rows: Sequence[Row], problems: Mapping[str, str], why: str, code: int
) -> None:
    """Say what was submitted, and how to go on. Exits."""
    known: dict[str, KnownSubmission] = {}
    try:
        known = known_of(server, rows)
        if batch.output is not None:
            write_results(batch.output, rows, known, problems)
        count = f"{len(known)} of {len(rows)} rows are submitted; "
    except CallFailed:
        count = ""
    say(
        f"hookchain: {printable(why)}: {count}run the same command again to submit the others", to_errors=True
    )
    raise typer.Exit(code)


def _finish(
    batch: Batch, rows: Sequence[Row], known: Mapping[str, KnownSubmission], problems: Mapping[str, str]
) -> None:
    if batch.output is not None:
        write_results(batch.output, rows, known, problems)
    numbers = summary(rows, known)
    if batch.as_json:
        say_json(numbers)
    else:
        say(", ".join(f"{number} {name}" for name, number in numbers.items() if number or name == "rows"))
        if batch.output is not None:
            say(f"wrote {printable(str(batch.output))}")
    if numbers["failed"] or any(problem != _BEYOND for problem in problems.values()):
        raise typer.Exit(1)
