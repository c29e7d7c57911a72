"""Small pictures that were asked for lately, in memory: as many as fit into so many bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from midjourney.image_data import Image

OVERHEAD_BYTES = 1024
"""What an entry takes beside its picture, about: a thousand pictures of one pixel are not free."""


class Recent:
    """Pictures by key; the one that nobody asked for the longest goes first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._images: OrderedDict[Hashable, Image] = OrderedDict()
        self.held_bytes = 0

    def get(self, key: Hashable) -> Image | None:
        """The picture, if it is still here."""
        image = self._images.get(key)
        if image is not None:
            self._images.move_to_end(key)
        return image

    def put(self, key: Hashable, image: Image) -> None:
        """Keep a picture in the place of older ones; one that is larger than all the room is not kept."""
        self._drop(key)
        if _weight(image) > self._most_bytes:
            return
        self._images[key] = image
        self.held_bytes += _weight(image)
        while self.held_bytes > self._most_bytes:
            self._drop(next(iter(self._images)))

    def _drop(self, key: Hashable) -> None:
        image = self._images.pop(key, None)
        if image is not None:
            self.held_bytes -= _weight(image)


def _weight(image: Image) -> int:
    return len(image.data) + OVERHEAD_BYTES
