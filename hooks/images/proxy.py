"""/images: the pictures of tasks, from our own address. Pages of ours may show no others (Content-Security-Policy).

No open proxy: a request names a task, and the address is looked up in the newest payload that was kept of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dispatcher.chain import Place
from dispatcher.effects.store import file_name
from hooks.images.flights import Busy, Flights
from hooks.images.originals import REFRESH_WITHIN_S, Originals, Picture, now_ms
from hooks.images.outgoing import Outgoing, Pieces, busy
from hooks.images.recent import Recent
from hooks.images.thumbnails import WIDTHS, thumbnail
from hooks.problems import Problem
from midjourney.decode import kept_task
from midjourney.image_data import EXTENSIONS, BadImage, Image, NotAnImage
from midjourney.loading import TIMEOUT_S, NotServed
from storage import events
from storage.engine import Database

AT_ONCE = 2
"""Pictures that are fetched at a time: each may have 50 MB."""

IN_LINE = 128
"""Others that wait their turn: more than a page shows."""

ASKERS = 512
"""Requests that wait for them together."""

PATIENCE_S = 60.0
"""How long one waits its turn. A hundred of a page take half of it where a picture takes 0.6 s."""

CACHE_BYTES = 16 * 1024 * 1024
"""Thumbnails in memory: some 800 at 384 pixels."""

_VIDEOS = (".mp4", ".webm", ".mov", ".m4v", ".m3u8")

_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
}
"""Whatever the bytes are besides a picture, a browser makes nothing else of them."""

Handler = Callable[[Request], Awaitable[Response]]
Guard = Callable[[Handler], Handler]
"""Puts a check before a handler: who may see pictures is not this module's to say."""


def image_path(upstream: str, task_id: str, image_url: str, width: int | None = None) -> str:
    """Where our pages find the picture that is at `image_url` now; "" where there is none to show: no address, a video.

    `width` is one of `WIDTHS`, or None for the original. The link changes with the picture and not with its signature.
    """
    if not image_url or is_video(image_url):
        return ""
    query = {"v": version_of(image_url)} | ({"width": str(width)} if width is not None else {})
    return f"/images/{quote(upstream, safe='')}/{quote(task_id, safe='')}?{urlencode(query)}"


_SIGNATURE = frozenset({"ex", "is", "hm"})
"""What Discord adds to an address, anew every time (https://discord.com/developers/docs/reference#signed-attachment-cdn-urls)."""


def version_of(image_url: str) -> str:
    """Twelve characters that stand for an address without its signature.

    What else is in its query counts: new-api tells previews from the picture by `rand` alone, at one path
    (https://github.com/QuantumNous/new-api, relay/mjproxy_handler.go).
    """
    path, _, query = image_url.partition("?")
    kept = [one for one in query.split("&") if one and one.partition("=")[0] not in _SIGNATURE]
    return hashlib.sha256("&".join([path, *kept]).encode()).hexdigest()[:12]


def is_video(image_url: str) -> bool:
    """Whether an address is that of a film, by its name."""
    try:
        return urlsplit(image_url).path.lower().endswith(_VIDEOS)
    except ValueError:
        return False


class Images:
    """Pictures of the tasks in a database. `places` are the upstreams; those with `refresh` tell addresses anew.

    Close it with `aclose`, before the clients that `places` ask with.
    """

    def __init__(
        self,
        database: Database,
        places: Mapping[str, Place],
        *,
        in_line: int = IN_LINE,
        timeout_s: float = TIMEOUT_S,
        refresh_within_s: float = REFRESH_WITHIN_S,
        cache_bytes: int = CACHE_BYTES,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._database = database
        self._originals = Originals(
            places, timeout_s=timeout_s, refresh_within_s=refresh_within_s, clock=clock
        )
        self.flights: Flights[Image] = Flights(
            at_once=AT_ONCE, in_line=in_line, askers=ASKERS, patience_s=PATIENCE_S
        )
        self._decoding = asyncio.Lock()
        self._outgoing = Outgoing()
        self.recent = Recent(cache_bytes)

    def routes(self, guard: Guard) -> list[BaseRoute]:
        """The one path, behind a guard."""
        return [Route("/images/{upstream}/{task_id:path}", guard(self.image), methods=["GET"])]

    async def aclose(self) -> None:
        """End what is under way."""
        await self.flights.aclose()
        await self._originals.aclose()

    async def image(self, request: Request) -> Response:
        """The picture, as it is or `width` pixels wide.

        404 no such task, no picture, gone; 415 no picture that can be shown; 422 another width; 502 it could not be
        had, with the reason; 503 too much to do.
        """
        try:
            width = _width(request)
            picture = await self._picture(request.path_params["upstream"], request.path_params["task_id"])
            image = await self._image(picture, width)
        except Problem as problem:
            return _unkept(problem)
        except BadImage as error:
            return _unkept(_problem(error))
        except Busy as error:
            return busy(f"too many pictures are wanted: {error}").response()
        headers = _HEADERS | {
            "content-disposition": f'inline; filename="{_file_name(picture.task_id, image)}"',
            "cache-control": _cache_control(request, picture),
        }
        return Pieces(image.data, self._outgoing, media_type=image.media_type, headers=headers)

    async def _picture(self, upstream: str, task_id: str) -> Picture:
        """Raises the 404, and the 415 of a video, which is not asked for."""
        payload = await self._database.read(
            lambda connection: events.latest_payload(connection, upstream, task_id)
        )
        if (task := kept_task(payload)) is None:
            raise Problem(404, f"upstream {upstream} has no task {task_id}")
        if not task.image_url:
            raise Problem(404, f"task {task_id} has no picture")
        if is_video(task.image_url):
            raise Problem(415, f"task {task_id} is a video; only pictures are shown")
        return Picture(upstream=upstream, task_id=task_id, address=task.image_url)

    async def _image(self, picture: Picture, width: int | None) -> Image:
        """Raises `BadImage` or `Busy`."""
        key = (*picture.task, version_of(picture.address), width)
        kept = self.recent.get(key)
        if kept is not None:
            return kept
        if width is None:
            return await self.flights.join(key, partial(self._originals.fetch, picture))
        image = await self.flights.join(key, partial(self._thumbnail, picture, width))
        self.recent.put(key, image)
        return image

    async def _thumbnail(self, picture: Picture, width: int) -> Image:
        original = await self._originals.fetch(picture)
        async with self._decoding:  # one at a time: it takes a core, and up to half a gigabyte
            return await asyncio.to_thread(thumbnail, original.data, width)


def _width(request: Request) -> int | None:
    asked = request.query_params.get("width")
    if asked is None:
        return None
    if asked not in map(str, WIDTHS):
        raise Problem(422, f"width is one of {', '.join(map(str, WIDTHS))}, or left out for the original")
    return int(asked)


def _cache_control(request: Request, picture: Picture) -> str:
    """For a day where the link names what is sent; a link that is older than the picture must not bring it for good."""
    if request.query_params.get("v") == version_of(picture.address):
        return "private, max-age=86400, immutable"
    return "private, no-cache"


def _file_name(task_id: str, image: Image) -> str:
    safe = file_name(task_id).encode("ascii", "replace").decode().replace("?", "_")
    return f"{safe}.{EXTENSIONS[image.media_type]}"


def _problem(error: BadImage) -> Problem:
    if isinstance(error, NotServed) and error.is_gone:
        return Problem(404, f"{error}, and its upstream tells no other address")
    return Problem(415 if isinstance(error, NotAnImage) else 502, str(error))


def _unkept(problem: Problem) -> Response:
    response = problem.response()
    response.headers["cache-control"] = "no-store"
    return response
