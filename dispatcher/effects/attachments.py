"""Pictures that go along with a notification: loaded here, by the rules for addresses, into files that last as long as it is sent.

A message is never delayed or lost because of a picture: one that cannot be loaded, or that is too large, is left out, and its address is in
the text instead.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from dispatcher.confined.keeper import Broken
from dispatcher.effects.expiring_links import expires_soon
from dispatcher.pictures.confined import quarters
from dispatcher.plugins.chain import Chain
from dispatcher.plugins.daemon_threads import in_thread
from midjourney.image_data import EXTENSIONS, LARGEST_BYTES, BadImage, Image, NotAnImage
from midjourney.loading import NotServed, fetch_image

MOST = 10
"""The most pictures of a message, as Discord has it."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture by its address. `task_id` is its task, which is asked for a new address when this one has expired; "" if unknown.
    `in_quarters`: a grid, which goes along as its four pictures."""

    address: str
    task_id: str = ""
    in_quarters: bool = False

    @property
    def parts(self) -> list[str]:
        """What stands for its files where none are made: the address, once for each quarter."""
        return [f"{self.address}#{number}" for number in (1, 2, 3, 4)] if self.in_quarters else [self.address]


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """The files, and the addresses of the pictures that are not among them."""

    files: list[Path]
    left_out: list[str]


@asynccontextmanager
async def attached(pictures: Sequence[Picture], chain: Chain) -> AsyncIterator[Attached]:
    """Load pictures into files, one after the other, and remove the files at the end. The chain notes what is left out."""
    folder = Path(await in_thread(lambda: tempfile.mkdtemp(prefix="hookchain-")))
    try:
        yield await _loaded(pictures, chain, folder)
    finally:
        await in_thread(lambda: shutil.rmtree(folder, ignore_errors=True))


async def _loaded(pictures: Sequence[Picture], chain: Chain, folder: Path) -> Attached:
    files: list[Path] = []
    left_out = [picture.address for picture in pictures[MOST:]]
    if left_out:
        chain.note(f"{len(left_out)} pictures are not attached: a message has at most {MOST}")
    for picture in pictures[:MOST]:
        try:
            image = await _fetched(picture, chain)
        except BadImage as error:
            chain.note(f"not attached: {error}")
            left_out.append(picture.address)
            continue
        for part in await _quarters(image, chain) if picture.in_quarters else [image]:
            files.append(folder / f"picture-{len(files) + 1}.{EXTENSIONS[part.media_type]}")
            await _write(files[-1], part.data)
    return Attached(files=files, left_out=left_out)


async def _quarters(grid: Image, chain: Chain) -> list[Image]:
    """The four pictures of a grid; the grid itself if it cannot be cut, which the chain notes."""
    try:
        return [Image(data=data, media_type="image/png") for data in await quarters(grid.data)]
    except (NotAnImage, Broken) as error:
        chain.note(f"attached as one picture: the grid cannot be cut: {error}")
        return [grid]


async def _write(file: Path, data: bytes) -> None:
    await in_thread(lambda: file.write_bytes(data))


async def _fetched(picture: Picture, chain: Chain) -> Image:
    """Load a picture of at most 10 MB, from a new address if its own has expired. Raises `BadImage`."""
    address = picture.address
    if picture.task_id and expires_soon(address):
        address = await chain.fresh_image_url(picture.task_id) or address
    try:
        return await fetch_image(address, largest=LARGEST_BYTES, may_be_private=chain.may_be_private)
    except NotServed:
        fresh = await chain.fresh_image_url(picture.task_id) if picture.task_id else ""
        if not fresh or fresh == address:
            raise
        return await fetch_image(fresh, largest=LARGEST_BYTES, may_be_private=chain.may_be_private)
