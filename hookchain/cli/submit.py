"""`hookchain imagine`, `press`, `modal`, `chain`: submit, and watch a chain grow."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer
from rich.console import Console

from dispatcher import commands
from dispatcher.spelling import nearest
from hookchain.cli.api import CallFailed, Server, running_server
from hookchain.cli.follow import follow_chain, tree_of
from hookchain.settings import Settings, SettingsError, load_settings
from hookchain.wiring import open_database
from hookchain.worker import now_ms
from midjourney.image_data import BadImage
from midjourney.loading import load_image
from midjourney.requests import KINDS, Imagine

Upstream = Annotated[str, typer.Option(help="Upstream to use, if there are several.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Watch the chain until it is complete.")]


def imagine(
    prompt: Annotated[str, typer.Argument(help="Prompt to submit.")],
    upstream: Upstream = "",
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Submit a prompt. It is queued if no server is running."""
    settings = load_settings()
    server = Server(settings)
    if not server.is_up():
        if follow:
            raise CallFailed(
                f"no server answers at {server.url}, and chains grow only with one: start `hookchain serve`"
            )
        _imagine_without_server(settings, prompt, upstream)
        return
    made = server.post("/api/submissions", {"kind": "imagine", "prompt": prompt, "upstream": upstream})
    _told(server, made, follow=follow, as_json=as_json)


def press(
    task: Annotated[str, typer.Argument(help="Task id.")],
    button: Annotated[
        str,
        typer.Argument(metavar="LABEL_OR_CUSTOM_ID", help='Label ("U1"), pattern ("U*"), customId, or kind.'),
    ],
    upstream: Upstream = "",
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Press buttons of a task. A button is never pressed, or paid for, twice."""
    server = running_server()
    made = server.post(
        "/api/submissions", {"kind": "press", "task_id": task, "button": button, "upstream": upstream}
    )
    for submission in made["submissions"][:-1]:
        _told(server, submission, follow=False, as_json=as_json)
    _told(server, made["submissions"][-1], follow=follow, as_json=as_json)


def submit(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of request: " + ", ".join(KINDS) + ".")],
    fields: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIELD=VALUE...",
            help="Fields of the request. Images are files or URLs; repeat the field for several.",
        ),
    ] = None,
    upstream: Upstream = "",
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Submit a request of any kind.

    Example: hookchain submit blend images=a.png images=b.png dimensions=SQUARE
    """
    body = _request_of(kind, fields or [])
    server = running_server()
    _told(
        server, server.post("/api/submissions", body | {"upstream": upstream}), follow=follow, as_json=as_json
    )


def modal(
    task: Annotated[str, typer.Argument(help="Id of the task whose modal needs an answer.")],
    prompt: Annotated[str, typer.Option(help="Prompt to answer with.")] = "",
    mask: Annotated[Path | None, typer.Option(help="PNG mask; white marks the areas to change.")] = None,
    upstream: Upstream = "",
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Answer a modal."""
    body = {"kind": "modal", "task_id": task, "prompt": prompt, "upstream": upstream}
    if mask is not None:
        body["mask"] = _image(str(mask))
    server = running_server()
    _told(server, server.post("/api/submissions", body), follow=follow, as_json=as_json)


def chain(
    task: Annotated[str, typer.Argument(help="Task id or chain id.")],
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Show the chain of a task as a tree."""
    if not task:
        raise SettingsError("give the id of a task or a chain")
    server = running_server()
    found = server.get("/api/tasks", limit=1, chain_id=task)["tasks"]
    chain_id = task if found else _chain_of(server, task)
    if follow:
        follow_chain(server, chain_id)
        return
    shown = server.get(f"/api/chains/{chain_id}")
    if as_json:
        print(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        Console().print(tree_of(shown))


def _chain_of(server: Server, task_id: str) -> str:
    upstreams = {
        event["upstream"] for event in server.get("/api/events", task_id=task_id, limit=50)["events"]
    }
    for upstream in sorted(upstreams):
        if chain_id := server.get(f"/api/tasks/{upstream}/{quote(task_id, safe='')}")["chain_id"]:
            return str(chain_id)
    raise CallFailed(
        f"no task or chain {task_id!r}" if not upstreams else f"task {task_id!r} is in no chain yet"
    )


def _told(server: Server, submission: dict[str, Any], *, follow: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps(submission, ensure_ascii=False))
    else:
        print(
            f"{submission['label']}: submission {submission['id']} in chain {submission['chain_id']}",
            flush=True,
        )
    if follow and not follow_chain(server, submission["chain_id"]):
        raise typer.Exit(1)


def _request_of(kind: str, fields: list[str]) -> dict[str, Any]:
    """The body of the API for what was typed. Raises `SettingsError` for an unknown kind or field, or a bad image."""
    names = {name.replace("_", "-"): name for name in KINDS}
    if kind.replace("_", "-") not in names:
        raise SettingsError(f"unknown kind {kind!r}.{nearest(kind, names)}")
    name = names[kind.replace("_", "-")]
    known = {field.name: field for field in msgspec.structs.fields(KINDS[name])}
    body: dict[str, Any] = {"kind": name}
    for pair in fields:
        field, equals, value = pair.partition("=")
        if not equals or field not in known:
            raise SettingsError(f"{pair!r}: write FIELD=VALUE.{nearest(field, known)}")
        typed = _image(value) if field in _IMAGES else value
        if field == "images":
            body[field] = [*body.get(field, []), typed]
        else:
            body[field] = _literal(field, value) if field in _LITERAL else typed
    return body


def _literal(field: str, value: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{field}={value}: write it as JSON, such as {_LITERAL[field]}") from error


_IMAGES = frozenset({"images", "image", "end_image", "mask", "source", "target"})
_LITERAL = {"index": "2", "batch_size": "4", "loop": "true", "extra": '{"botType": "NIJI_JOURNEY"}'}
"""Fields that are written as JSON, and what they may be."""


def _image(value: str) -> str:
    try:
        return asyncio.run(load_image(value)).data_url
    except BadImage as error:
        raise SettingsError(str(error)) from error


def _imagine_without_server(settings: Settings, prompt: str, upstream: str) -> None:
    """Keep the submission for the server that is started next."""
    name = upstream or next(iter(settings.upstreams), "")
    if name not in settings.upstreams:
        raise SettingsError(
            f"no server is running, and no upstream {name!r} is configured; start `hookchain serve` first"
            if name
            else "no server is running and no upstream is configured; start `hookchain serve` first"
        )

    async def stage() -> str:
        database = await open_database(settings)
        try:
            made = await database.write(
                "command",
                lambda connection: commands.submit(
                    connection,
                    Imagine(prompt=prompt),
                    upstream=name,
                    dialect=settings.dialects[settings.upstreams[name].dialect],
                    asked_by="cli",
                    now_ms=now_ms(),
                ),
            )
        finally:
            await database.close()
        return made.submission_id

    print(f"no server is running: submission {asyncio.run(stage())} waits for `hookchain serve`")
