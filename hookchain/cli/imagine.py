"""`hookchain imagine`: submits a prompt, or each row of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hookchain.cli.api import CallFailed, Server
from hookchain.cli.batch_rows import Columns
from hookchain.cli.submit import AsJson, Mode, Upstream, say_submission
from hookchain.settings.load import Settings, SettingsError, load_settings
from hooks.api.answers import Submission


def imagine(
    prompt: Annotated[str | None, typer.Argument(help="Prompt to submit.", show_default=False)] = None,
    upstream: Upstream = "",
    mode: Mode = "",
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "--wait", "-f", help="Watch until the chain, or each row's task, has ended."
        ),
    ] = False,
    as_json: AsJson = False,
    state: Annotated[
        str, typer.Option(metavar="TEXT", help="Text that comes back as task.state; rules can read it.")
    ] = "",
    file: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Submit each row of a CSV file or of JSON lines (.jsonl, .ndjson); - is standard input.",
        ),
    ] = "",
    prompt_column: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the prompts.")] = "prompt",
    state_column: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column whose text comes back as task.state.")
    ] = "",
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Column to leave out; repeat for several.")
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Name of the batch: a row is submitted once for each name. Default: the file's name.",
        ),
    ] = "",
    budget: Annotated[
        float | None,
        typer.Option(metavar="AMOUNT", min=0, help="The most that all rows may cost, earlier runs included."),
    ] = None,
    at_most: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="The most rows to submit, earlier runs included."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Submit without asking.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what became of each row: .csv or .jsonl."),
    ] = None,
) -> None:
    """Submit a prompt, or with --from each row of a file.

    A prompt is queued if no server is running. A row is submitted once: run the command again to continue where it stopped, or for
    the results.
    """
    settings = load_settings()
    if not file:
        given = {
            "--state-column": state_column,
            "--ignore": ignore,
            "--name": name,
            "--budget": budget is not None,
            "--at-most": at_most is not None,
            "--yes": yes,
            "--output": output,
        }
        if wrong := [option for option, value in given.items() if value]:
            raise SettingsError(f"{wrong[0]} belongs to --from FILE")
        if prompt is None:
            raise SettingsError("Missing argument: write a PROMPT, or --from FILE")
        _one(settings, prompt, upstream, mode, state.strip(), follow=follow, as_json=as_json)
        return
    if prompt is not None:
        raise SettingsError("write a PROMPT or --from FILE, not both")
    if state:
        raise SettingsError("--state belongs to a PROMPT; for --from FILE, name a column with --state-column")
    # Imported here because a single prompt does not need it.
    from hookchain.cli.batch import Batch, Limits, run_batch

    run_batch(
        settings,
        Batch(
            file=file,
            columns=Columns(prompt=prompt_column, state=state_column, ignored=tuple(ignore or ())),
            name=name,
            upstream=upstream,
            mode=mode,
            limits=Limits(budget=budget, at_most=at_most),
            yes=yes,
            follow=follow,
            output=output,
            as_json=as_json,
        ),
    )


def _one(
    settings: Settings, prompt: str, upstream: str, mode: str, state: str, *, follow: bool, as_json: bool
) -> None:
    server = Server(settings)
    if not server.is_up():
        if follow:
            raise CallFailed(
                f"no server answers at {server.url}, so no chain can grow: start one with `hookchain serve`"
            )
        # Imported here because it is slow to load: it needs the storage package.
        from hookchain.cli.offline import queue_imagine

        queue_imagine(settings, prompt, upstream, mode, state, as_json=as_json)
        return
    body: dict[str, object] = {"kind": "imagine", "prompt": prompt, "upstream": upstream, "mode": mode}
    if state:
        body["extra"] = {"state": state}
    submission = server.post("/api/submissions", Submission, body)
    say_submission(server, submission, follow=follow, as_json=as_json)
