"""`hookchain press`, `submit`, `modal` and `chain`: submit requests and watch a chain grow."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer
from rich.console import Console

from dispatcher.rules.spelling import nearest
from hookchain.cli.api import CallFailed, Server, running_server
from hookchain.cli.follow import follow_chain, tree_of
from hookchain.cli.output import say, say_json
from hookchain.printable import printable, printable_in
from hookchain.settings.load import SettingsError
from hooks.api.answers import ChainDetail, EventPage, Pressed, Submission, TaskDetail, TaskPage
from midjourney.addresses import is_link, is_private
from midjourney.errors import InvalidRequest
from midjourney.image_data import BadImage
from midjourney.loading import load_image
from midjourney.requests import KINDS
from midjourney.videos import video_type

Upstream = Annotated[str, typer.Option(help="Upstream to use, if there are several.")]
Mode = Annotated[str, typer.Option(help="Speed mode that the upstream has, such as fast or relax.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Watch the chain until it is complete.")]


def press(
    task: Annotated[str, typer.Argument(help="Task id.")],
    button: Annotated[
        str,
        typer.Argument(metavar="LABEL_OR_CUSTOM_ID", help='Label ("U1"), pattern ("U*"), customId, or kind.'),
    ],
    upstream: Upstream = "",
    mode: Mode = "",
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Press buttons of a task. A button is never pressed, or paid for, twice."""
    server = running_server()
    submissions = server.post(
        "/api/submissions",
        Pressed,
        {"kind": "press", "task_id": task, "button": button, "upstream": upstream, "mode": mode},
    ).submissions
    for submission in submissions[:-1]:
        say_submission(server, submission, follow=False, as_json=as_json)
    say_submission(server, submissions[-1], follow=follow, as_json=as_json)


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
    mode: Mode = "",
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Submit a request of any kind.

    Example: hookchain submit blend images=a.png images=b.png dimensions=SQUARE
    """
    body = _request_of(kind, fields or [])
    server = running_server()
    say_submission(
        server,
        server.post("/api/submissions", Submission, body | {"upstream": upstream, "mode": mode}),
        follow=follow,
        as_json=as_json,
    )


def modal(
    task: Annotated[str, typer.Argument(help="Id of the task whose modal needs an answer.")],
    prompt: Annotated[str, typer.Option(help="Prompt to answer with.")] = "",
    mask: Annotated[Path | None, typer.Option(help="PNG mask; white marks the areas to change.")] = None,
    upstream: Upstream = "",
    mode: Mode = "",
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Answer a modal."""
    body = {"kind": "modal", "task_id": task, "prompt": prompt, "upstream": upstream, "mode": mode}
    if mask is not None:
        body["mask"] = image_of(str(mask))
    server = running_server()
    say_submission(server, server.post("/api/submissions", Submission, body), follow=follow, as_json=as_json)


def chain(
    task: Annotated[str, typer.Argument(help="Task id or chain id.")],
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Show the chain of a task as a tree."""
    if not task:
        raise SettingsError("the id is empty; give the id of a task or a chain")
    server = running_server()
    is_chain_id = bool(server.get("/api/tasks", TaskPage, limit=1, chain_id=task).tasks)
    chain_id = task if is_chain_id else _chain_of(server, task)
    if follow:
        follow_chain(server, chain_id)
        return
    shown = server.get(f"/api/chains/{quote(chain_id, safe='')}", ChainDetail)
    if as_json:
        say_json(shown)
    else:
        Console().print(tree_of(printable_in(shown)))


def _chain_of(server: Server, task_id: str) -> str:
    upstreams = {
        event.upstream for event in server.get("/api/events", EventPage, task_id=task_id, limit=50).events
    }
    for upstream in sorted(upstreams):
        task = server.get(f"/api/tasks/{quote(upstream, safe='')}/{quote(task_id, safe='')}", TaskDetail)
        if task.chain_id:
            return task.chain_id
    raise CallFailed(
        f"no task or chain {task_id!r}"
        if not upstreams
        else f"task {task_id!r} does not belong to a chain yet"
    )


def say_submission(server: Server, submission: Submission, *, follow: bool, as_json: bool) -> None:
    """Print a submission, and follow its chain. Exits with 1 if its task fails."""
    if as_json:
        say_json(submission, indent=None)
    else:
        say(
            printable(f"{submission.label}: submission {submission.id} in chain {submission.chain_id}"),
        )
    if follow and not follow_chain(server, submission.chain_id):
        raise typer.Exit(1)


def _request_of(kind: str, fields: list[str]) -> dict[str, object]:
    """The API request body for the arguments. Raises `SettingsError` for an unknown kind or field, or an invalid image."""
    names = {name.replace("_", "-"): name for name in KINDS}
    if kind.replace("_", "-") not in names:
        raise SettingsError(f"unknown kind {kind!r}.{nearest(kind, names)}")
    name = names[kind.replace("_", "-")]
    known = {field.name: field for field in msgspec.structs.fields(KINDS[name])}
    body: dict[str, object] = {"kind": name}
    images: list[str] = []
    for pair in fields:
        field, equals, value = pair.partition("=")
        if not equals or field not in known:
            raise SettingsError(f"{pair!r}: write FIELD=VALUE.{nearest(field, known)}")
        if field == "images":
            images.append(image_of(value))
        elif field in _JSON_EXAMPLES:
            body[field] = _json_value(field, value)
        elif (name, field) == ("video_swap", "target"):
            body[field] = _video(value)
        else:
            body[field] = image_of(value) if field in _IMAGES else value
    return body | ({"images": images} if images else {})


def _json_value(field: str, value: str) -> object:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{field}={value}: write it as JSON, such as {_JSON_EXAMPLES[field]}") from error


_IMAGES = frozenset({"images", "image", "end_image", "mask", "source", "target"})
_JSON_EXAMPLES = {"index": "2", "batch_size": "4", "loop": "true", "extra": '{"botType": "NIJI_JOURNEY"}'}
"""Fields whose value is JSON, each with an example."""


def _video(value: str) -> str:
    """The video in a file as a data URL; a link stays a link."""
    if is_link(value) or value.startswith("data:"):
        return value
    try:
        content = Path(value).read_bytes()
        return f"data:{video_type(value, content)};base64,{base64.b64encode(content).decode()}"
    except (OSError, InvalidRequest) as error:
        raise SettingsError(str(error)) from error


def image_of(value: str) -> str:
    """The image as a data URL. A link to a private address stays a link: only the server knows whether it may load it."""
    if is_link(value) and is_private(value):
        return value
    try:
        is_text = is_link(value) or value.startswith("data:") or not os.path.exists(value)
        return asyncio.run(load_image(value if is_text else Path(value))).data_url
    except BadImage as error:
        raise SettingsError(str(error)) from error
