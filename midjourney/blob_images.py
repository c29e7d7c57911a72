"""Images that are blobs: examines them before a request is sent, without holding more than a piece of one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import msgspec

from midjourney.blob_texts import Blobs, Examined, Reference, blob_in, examine, references_in
from midjourney.errors import InvalidRequest
from midjourney.image_data import LARGEST_BYTES, BadImage, image_of_bytes, image_of_text
from midjourney.links import images_of
from midjourney.requests import Blend, Imagine, Request, VideoSwap
from midjourney.videos import check_examined


async def examined_in(request: Request, blobs: Blobs | None) -> tuple[Request, Mapping[Reference, Examined]]:
    """The request with what makes data URLs put before its blobs, and what was seen of each blob: all are read once, so that one
    that is missing, damaged or no image is refused before anything is sent.

    Raises `InvalidRequest`, and `NotSent` while blobs cannot be read.
    """
    images = {field: reference for field, image in images_of(request) if (reference := blob_in(image))}
    others = [("extra", reference) for reference in references_in(request.extra)]
    video = blob_in(request.target) if isinstance(request, VideoSwap) else None
    others += [("target", video)] if video is not None else []
    if not images and not others:
        return request, {}
    if blobs is None:
        raise InvalidRequest(next(iter(images), "extra"), "refers to a stored text, and none are kept here")
    for field, reference in images.items():
        check_size(field, reference)
    examined: dict[Reference, Examined] = {}
    for field, reference in [*images.items(), *others]:
        if reference not in examined:
            examined[reference] = await examine(blobs, field, reference)
    if video is not None:
        check_examined("target", examined[video])
    written = dict(images_of(request))
    for field, reference in images.items():
        written[field] = f"{prefix(field, examined[reference])}{reference}"
    if isinstance(request, Imagine | Blend):
        return msgspec.structs.replace(request, images=tuple(written.values())), examined
    return msgspec.structs.replace(request, **written), examined


def check_size(field: str, reference: Reference) -> None:
    """Raise `InvalidRequest` for an image that is too large."""
    if reference.size > LARGEST_BYTES * 4 // 3 + 1024:
        raise InvalidRequest(
            field,
            f"the image has about {reference.size * 3 // 4} bytes; at most {LARGEST_BYTES} are allowed: make it smaller",
        )


def media_type(field: str, examined: Examined) -> str:
    """The type of an image, from its first bytes. Raises `InvalidRequest` for anything but an image."""
    text = examined.start.decode("utf-8", "replace")
    head, comma, _ = text.partition(",")
    try:
        if not examined.is_base64:
            if text.startswith("data:") and not (comma and head.endswith(";base64")):
                image_of_text(text)  # says what is wrong
            raise BadImage("the image is neither a data URL nor base64")
        return image_of_bytes(_beginning(examined.start)).media_type
    except BadImage as error:
        raise InvalidRequest(field, str(error)) from error


def prefix(field: str, examined: Examined) -> str:
    """What makes a data URL of an image: "" if it is one. Raises `InvalidRequest` for anything but an image."""
    kind = media_type(field, examined)
    if field == "mask" and kind != "image/png":
        raise InvalidRequest(field, f"a mask must be a PNG, not {kind}")
    return "" if examined.start.startswith(b"data:") else f"data:{kind};base64,"


def _beginning(start: bytes) -> bytes:
    body = start.partition(b",")[2] if start.startswith(b"data:") else start
    whole = body.rstrip(b"=")[: len(body.rstrip(b"=")) // 4 * 4]
    try:
        return base64.b64decode(whole, validate=True)
    except binascii.Error as error:
        raise BadImage("the image is neither a data URL nor base64") from error
