"""Checks the images of a batch before anything is paid for: a row whose image is wrong must not be found after its neighbours left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from hookchain.cli.batch_rows import Row, WrongRows, default_upstream
from hookchain.settings.conversion import SettingsError
from midjourney.addresses import is_link, is_private
from midjourney.dialects import Upstream
from midjourney.links import Near, near_of

AT_A_TIME = 4
"""Images that are loaded at a time."""


def check_images(file: str, rows: Sequence[Row], upstreams: Mapping[str, Upstream]) -> None:
    """Load each image of these rows as it will be sent. `upstreams` are those of the configuration.

    Raises `WrongRows` with all mistakes, by their lines.
    """
    if not any(row.images for row in rows):
        return
    default = default_upstream(upstreams)
    wanted = {
        (image, row.upstream or default): near_of(upstreams[row.upstream or default])
        if (row.upstream or default) in upstreams
        else Near()
        for row in rows
        for image in row.images
    }
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        problems = dict(
            zip(wanted, pool.map(_problem, (image for image, _ in wanted), wanted.values()), strict=True)
        )
    mistakes = [
        f"line {row.line}: {problem}"
        for row in rows
        for image in row.images
        if (problem := problems[image, row.upstream or default])
    ]
    if mistakes:
        raise WrongRows(file, mistakes)


def _problem(image: str, near: Near) -> str:
    """What is wrong with an image, or ""."""
    # Imported here because it loads all that reads images.
    from hookchain.cli.submit import image_of

    if is_link(image) and is_private(image):
        if near.may_be_private(image):
            return ""  # the server loads it
        return (
            f"the image {image[:80]!r} is at an address in a private network, which Midjourney cannot reach"
        )
    try:
        image_of(image)
    except SettingsError as error:
        return f"the image {image[:80]!r} cannot be used: {error}"
    return ""
