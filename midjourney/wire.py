"""Encodes a request for a dialect: its path and its body; and checks it before it is sent. Performs no I/O."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from midjourney.addresses import is_link, is_private
from midjourney.blob_images import check_size
from midjourney.blob_texts import blob_in
from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest
from midjourney.image_data import BadImage, image_of_text
from midjourney.links import Near, check_images, check_texts, images_of
from midjourney.modes import field_in, path_in
from midjourney.nesting import DEEPEST, is_too_deep
from midjourney.requests import (
    KINDS,
    Action,
    Blend,
    Cancel,
    Change,
    Describe,
    Edit,
    Imagine,
    Modal,
    Request,
    RequestKind,
    Retexture,
    Shorten,
    Show,
    SimpleChange,
    Swap,
    Video,
    VideoSwap,
    as_change,
    kind_of,
    parent_of,
)
from midjourney.videos import check_video

FORMS: Mapping[RequestKind, frozenset[str]] = {"video_swap": frozenset({"targetFile"})}
"""Kinds that are sent as multipart forms, and their fields that are files: trueai 11 takes them in no other way (`[FromForm]
InsightVideoFaceSwapDto`)."""

LONGEST_PROMPT = 6000
"""Characters. Midjourney's own limit is about 6,000; longer prompts fail after they were paid for."""


def check(request: Request, dialect: Dialect) -> None:
    """Check for anything that an upstream would refuse, or charge for and then fail.

    Raises `InvalidRequest` with the field and the cure.
    """
    kind = kind_of(request)
    if not dialect.has(kind):
        known = ", ".join(_submits(dialect))
        raise InvalidRequest("kind", f"dialect {dialect.name} has no {kind}; it has: {known}")
    _check_own_fields(request, dialect)
    if isinstance(request, Action | Change | Modal | Cancel) and not parent_of(request).strip():
        raise InvalidRequest("task_id", "is empty")
    check_texts(request)
    for field, image in images_of(request):
        _image(field, image, dialect)
    if request.extra and _is_too_deep(request.extra):
        raise InvalidRequest("extra", f"is nested deeper than {DEEPEST} levels")


def _check_own_fields(request: Request, dialect: Dialect) -> None:
    """Check the fields that only this kind of request has."""
    match request:
        case Imagine():
            _prompt(request.prompt)
            if dialect.image_field == "base64" and len(request.images) > 1:
                raise InvalidRequest("images", f"dialect {dialect.name} takes one image with a prompt")
        case Shorten() | Edit() | Retexture():
            _prompt(request.prompt)
        case Show() | VideoSwap():
            _check_new_fields(request)
        case Blend() if not 2 <= len(request.images) <= 5:
            raise InvalidRequest("images", f"a blend takes 2 to 5 images, not {len(request.images)}")
        case Change() if (request.index is None) != (request.action == "REROLL"):
            raise InvalidRequest("index", "is 1 to 4 for UPSCALE and VARIATION, and absent for REROLL")
        case SimpleChange():
            as_change(request)
        case Video() if not (request.image or request.task_id):
            raise InvalidRequest("image", "a video needs an image, or a task_id to extend")
        case Action() if not request.custom_id:
            raise InvalidRequest("custom_id", "is empty: take it from the task's buttons")
        case _:
            pass


def _check_new_fields(request: Show | VideoSwap) -> None:
    if isinstance(request, VideoSwap):
        check_video("target", request.target)
    elif not request.job_id.strip():
        raise InvalidRequest("job_id", "is empty: it is the uuid of a job, or the URL of its image")


def wire_path(request: Request, dialect: Dialect, mode: str = "") -> str:
    """The path under the upstream's base URL, in a speed mode. Raises `InvalidRequest` for one that the dialect does not have."""
    return path_in(mode, dialect.path(kind_of(request), parent_of(request)), dialect)


def wire_body(
    request: Request, dialect: Dialect, *, notify_hook: str = "", state: str = "", mode: str = ""
) -> dict[str, object] | None:
    """The JSON body; None for a request without one. Hook and state are left out if the dialect does not take them.

    The request's own state (in `extra`) is appended to ours, by which the task is recognised later.

    Raises `InvalidRequest` as `check` does, for an image at a private link that was not loaded, and for a hook or a state that is too
    long for the dialect.
    """
    check(request, dialect)
    check_images(request, Near())
    if isinstance(request, Cancel):
        return None
    kind, body = kind_of(request), _fields(request, dialect) | field_in(mode, dialect) | dict(request.extra)
    if kind in dialect.takes_bot_type:
        body.setdefault("botType", "MID_JOURNEY")
    if notify_hook and kind in dialect.takes_hook:
        body["notifyHook"] = _within(notify_hook, dialect.longest_hook, "notifyHook")
    if state and kind in dialect.takes_state:
        own = body.get("state", "")
        body["state"] = _within(f"{state} {own}" if own else state, dialect.longest_state, "state")
    return body


def _fields(request: Request, dialect: Dialect) -> dict[str, object]:
    match request:
        case Action() | Change() | SimpleChange() | Modal() | Cancel():
            return _fields_about_a_task(request, dialect)
        case Imagine():
            images = [_written(image, dialect) for image in request.images]
            if dialect.image_field == "base64":
                return _filled(prompt=request.prompt, base64="".join(images))
            return _filled(prompt=request.prompt, base64Array=images, botType=request.bot_type)
        case Blend():
            images = [_written(image, dialect) for image in request.images]
            return _filled(base64Array=images, dimensions=request.dimensions, botType=request.bot_type)
        case Shorten():
            return _filled(prompt=request.prompt, botType=request.bot_type)
        case Show():
            return _filled(jobId=request.job_id.strip(), botType=request.bot_type)
        case Video():
            return _video(request, dialect)
        case _:
            return _fields_with_images(request, dialect)


def _fields_with_images(
    request: Describe | Edit | Retexture | Swap | VideoSwap, dialect: Dialect
) -> dict[str, object]:
    match request:
        case Describe():
            return _filled(base64=_written(request.image, dialect), botType=request.bot_type)
        case Edit():
            image, mask = _written(request.image, dialect), _written(request.mask, dialect)
            return _filled(prompt=request.prompt, image=image, maskBase64=mask)
        case Retexture():
            return _filled(prompt=request.prompt, image=_written(request.image, dialect))
        case Swap():
            return {
                "sourceBase64": _written(request.source, dialect),
                "targetBase64": _written(request.target, dialect),
            }
        case VideoSwap():
            source = "sourceUrl" if is_link(request.source) else "sourceBase64"
            target = "targetUrl" if is_link(request.target) else "targetFile"
            return {source: _written(request.source, dialect), target: request.target}


def _fields_about_a_task(
    request: Action | Change | SimpleChange | Modal | Cancel, dialect: Dialect
) -> dict[str, object]:
    match request:
        case Action():
            return {"taskId": request.task_id, "customId": request.custom_id}
        case Change():
            return _filled(taskId=request.task_id, action=request.action, index=request.index)
        case SimpleChange():
            return {"content": request.content.strip()}
        case Modal():
            body = {"taskId": request.task_id, "prompt": request.prompt}
            return body | _filled(maskBase64=_written(request.mask, dialect))
        case Cancel():
            return {}


def _video(request: Video, dialect: Dialect) -> dict[str, object]:
    return {"motion": request.motion} | _filled(
        prompt=request.prompt,
        image=_written(request.image, dialect),
        endImage=_written(request.end_image, dialect),
        loop=request.loop or None,
        action=request.action,
        taskId=request.task_id,
        index=request.index,
        videoType=request.video_type,
        batchSize=request.batch_size,
    )


def _filled(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in (None, "", [])}


def _written(image: str, dialect: Dialect) -> str:
    """An image in the form that every endpoint takes: a data URL; a link if the dialect takes links."""
    if not image or blob_in(image) or (is_link(image) and dialect.takes_image_links):
        return image  # what a blob lacks has been put before it: see blob_images.py
    return image_of_text(image).data_url


def _image(field: str, image: str, dialect: Dialect) -> None:
    if (reference := blob_in(image)) is not None:
        check_size(field, reference)  # its type is examined before it is sent
        return
    if is_link(image):
        # An image at a private link is loaded, or refused, before the request is sent.
        if dialect.takes_image_links or is_private(image):
            return
        raise InvalidRequest(
            field,
            f"dialect {dialect.name} takes images, not their URLs: pass the file, or load it first",
        )
    try:
        decoded = image_of_text(image)
    except BadImage as error:
        raise InvalidRequest(field, str(error)) from error
    if field == "mask" and decoded.media_type != "image/png":
        raise InvalidRequest(field, f"a mask must be a PNG, not {decoded.media_type}")


def _prompt(prompt: str) -> None:
    if not prompt.strip():
        raise InvalidRequest("prompt", "is empty")
    if len(prompt) > LONGEST_PROMPT:
        raise InvalidRequest("prompt", f"has {len(prompt)} characters, more than {LONGEST_PROMPT}")


def _within(value: str, longest: int | None, field: str) -> str:
    if longest is not None and len(value) > longest:
        raise InvalidRequest(field, f"has {len(value)} characters; this dialect takes {longest}")
    return value


def _is_too_deep(extra: Mapping[str, object]) -> bool:
    try:
        return is_too_deep(msgspec.json.encode(extra))
    except RecursionError:
        return True


def _submits(dialect: Dialect) -> list[str]:
    return [kind for kind in KINDS if dialect.has(kind)]
