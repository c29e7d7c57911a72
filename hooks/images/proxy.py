"""/images serves the pictures of tasks from our own address. Our pages may show no others (Content-Security-Policy).

It is not an open proxy: a request names a task, and the picture's address comes from the task's newest stored payload.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dispatcher.confined.keeper import Broken
from dispatcher.effects.store import file_name
from dispatcher.pictures.confined import thumbnail
from dispatcher.plugins.chain import UpstreamHandle
from hooks.images.flights import Busy, Flights
from hooks.images.originals import REFRESH_WITHIN_S, Kept, Originals, Picture
from hooks.images.outgoing import Outgoing, PiecewiseResponse, busy
from hooks.images.thumbnail_cache import ThumbnailCache
from hooks.problems import Problem
from midjourney.decode import kept_task
from midjourney.image_data import EXTENSIONS, BadImage, Image, NotAnImage
from midjourney.loading import TIMEOUT_S, NotServed
from storage.clock import now_ms
from storage.engine import Database
from storage.events import event_log

CONCURRENT_FETCHES = 2
"""Pictures that are fetched at the same time: each may have 50 MB."""

MOST_QUEUED = 128
"""Further pictures that may wait: more than a page shows."""

MOST_WAITERS = 512
"""Requests that may wait for these pictures."""

QUEUE_TIMEOUT_S = 60.0
"""How long a picture may wait. The hundred pictures of a page take half of it if each takes 0.6 s."""

WIDTHS = (192, 384, 768)
"""Pixels: a card, a card on a high-density screen, a preview. Only these, so nobody can request a thousand sizes of one picture."""

CACHE_BYTES = 16 * 1024 * 1024
"""Memory for thumbnails: room for about 800 at 384 pixels."""

_VIDEOS = (".mp4", ".webm", ".mov", ".m4v", ".m3u8")

_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
}
"""These make a browser treat the bytes as a picture and nothing else."""

Handler = Callable[[Request], Awaitable[Response]]
Guard = Callable[[Handler], Handler]
"""Puts an access check in front of a handler. The caller decides who may see pictures."""


def image_path(upstream: str, task_id: str, image_url: str, width: int | None = None) -> str:
    """Return the path at which our pages load the picture now at `image_url`; "" if there is none or it is a video.

    `width` is one of `WIDTHS`, or None for the original. The path changes with the picture but not with the URL's signature.
    """
    if not image_url or is_video(image_url):
        return ""
    query = {"v": version_of(image_url)} | ({"width": str(width)} if width is not None else {})
    return f"/images/{quote(upstream, safe='')}/{quote(task_id, safe='')}?{urlencode(query)}"


_SIGNATURE = frozenset({"ex", "is", "hm"})
"""The query parameters of Discord's signature, which differ each time
(https://discord.com/developers/docs/reference#signed-attachment-cdn-urls)."""


def version_of(image_url: str) -> str:
    """Return twelve characters that identify an address without its signature.

    The rest of the query counts: at new-api, previews and the picture have the same path and differ only in `rand`
    (https://github.com/QuantumNous/new-api, relay/mjproxy_handler.go).
    """
    path, _, query = image_url.partition("?")
    kept = [part for part in query.split("&") if part and part.partition("=")[0] not in _SIGNATURE]
    return hashlib.sha256("&".join([path, *kept]).encode()).hexdigest()[:12]


def is_video(image_url: str) -> bool:
    """True if an address ends like the file name of a video."""
    try:
        return urlsplit(image_url).path.lower().endswith(_VIDEOS)
    except ValueError:
        return False


class Images:
    """Serves pictures of the tasks in a database. `places` are the upstreams; those with `refresh` can give a new address. `kept`: where
    pictures are kept, if anywhere.

    Close it with `aclose` before the HTTP clients of `places`.
    """

    def __init__(
        self,
        database: Database,
        places: Mapping[str, UpstreamHandle],
        *,
        kept: Kept | None = None,
        queued: int = MOST_QUEUED,
        timeout_s: float = TIMEOUT_S,
        refresh_within_s: float = REFRESH_WITHIN_S,
        cache_bytes: int = CACHE_BYTES,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._database = database
        self._originals = Originals(
            places, kept=kept, timeout_s=timeout_s, refresh_within_s=refresh_within_s, clock=clock
        )
        self.flights: Flights[Image] = Flights(
            concurrent=CONCURRENT_FETCHES,
            queued=queued,
            waiters=MOST_WAITERS,
            queue_timeout_s=QUEUE_TIMEOUT_S,
        )
        self._outgoing = Outgoing()
        self.thumbnails = ThumbnailCache(cache_bytes)

    def routes(self, guard: Guard) -> list[BaseRoute]:
        """Return the route, protected by `guard`."""
        return [Route("/images/{upstream}/{task_id:path}", guard(self.image), methods=["GET"])]

    async def aclose(self) -> None:
        """Cancel all fetches."""
        await self.flights.aclose()
        await self._originals.aclose()

    async def image(self, request: Request) -> Response:
        """Respond with the picture, in its original size or `width` pixels wide.

        404: no such task, it has no picture, or the picture is gone. 415: not a picture that can be shown. 422: unsupported width.
        502: the picture could not be fetched, with the reason. 503: too busy.
        """
        try:
            width = _pixels(request.query_params.get("width"))
        except Problem as problem:
            return _unkept(problem)
        named = request.path_params["upstream"], request.path_params["task_id"]
        return await self._response(*named, width, lambda picture: _cache_control(request, picture))

    async def serve(self, upstream: str, task_id: str, width: str | None) -> Response:
        """Respond with the picture of a task as `image` does, to anybody: the caller knows who may see it."""
        try:
            pixels = _pixels(width)
        except Problem as problem:
            return _unkept(problem)
        return await self._response(upstream, task_id, pixels, lambda _picture: "public, max-age=86400")

    async def _response(
        self, upstream: str, task_id: str, width: int | None, cache_control: Callable[[Picture], str]
    ) -> Response:
        try:
            picture = await self._picture(upstream, task_id)
            image = await self._image(picture, width)
        except Problem as problem:
            return _unkept(problem)
        except BadImage as error:
            return _unkept(_problem(error))
        except Busy as error:
            return busy(f"Too many pictures are requested: {error}").response()
        headers = _HEADERS | {
            "content-disposition": f'inline; filename="{_file_name(picture.task_id, image)}"',
            "cache-control": cache_control(picture),
        }
        return PiecewiseResponse(image.data, self._outgoing, media_type=image.media_type, headers=headers)

    async def _picture(self, upstream: str, task_id: str) -> Picture:
        """Return the task's picture. Raises `Problem` 404, and 415 for a video, which is not fetched."""
        payload = await self._database.read(
            lambda connection: event_log.latest_payload(connection, upstream, task_id)
        )
        if (task := kept_task(payload)) is None:
            raise Problem(404, f"upstream {upstream} has no task {task_id}")
        if not task.image_url:
            raise Problem(404, f"task {task_id} has no picture")
        if is_video(task.image_url):
            raise Problem(415, f"task {task_id} is a video; only pictures are shown")
        return Picture(upstream=upstream, task_id=task_id, address=task.image_url)

    async def _image(self, picture: Picture, width: int | None) -> Image:
        """Fetch the picture, or take it from the cache. Raises `BadImage` or `Busy`."""
        key = (*picture.task, version_of(picture.address), width)
        kept = self.thumbnails.get(key)
        if kept is not None:
            return kept
        if width is None:
            return await self.flights.join(key, partial(self._originals.fetch, picture))
        image = await self.flights.join(key, partial(self._thumbnail, picture, width))
        self.thumbnails.put(key, image)
        return image

    async def _thumbnail(self, picture: Picture, width: int) -> Image:
        original = await self._originals.fetch(picture)
        try:
            return Image(await thumbnail(original.data, width), "image/webp")
        except Broken as error:
            raise BadImage(str(error)) from error


def _pixels(width: str | None) -> int | None:
    if width is None:
        return None
    if width not in map(str, WIDTHS):
        raise Problem(422, f"width must be one of {', '.join(map(str, WIDTHS))}; omit it for the original")
    return int(width)


def _cache_control(request: Request, picture: Picture) -> str:
    """Allow caching for a day if the link names this very picture. A link from before the picture changed must not be cached."""
    if request.query_params.get("v") == version_of(picture.address):
        return "private, max-age=86400, immutable"
    return "private, no-cache"


def _file_name(task_id: str, image: Image) -> str:
    safe = file_name(task_id).encode("ascii", "replace").decode().replace("?", "_")
    return f"{safe}.{EXTENSIONS[image.media_type]}"


def _problem(error: BadImage) -> Problem:
    if isinstance(error, NotServed) and error.is_gone:
        return Problem(404, f"{error}, and its upstream gives no other address")
    return Problem(415 if isinstance(error, NotAnImage) else 502, str(error))


def _unkept(problem: Problem) -> Response:
    response = problem.response()
    response.headers["cache-control"] = "no-store"
    return response
