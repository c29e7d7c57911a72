"""Recently requested thumbnails, in memory, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from midjourney.image_data import Image

OVERHEAD_BYTES = 1024
"""What an entry takes besides its picture, roughly: a thousand pictures of one pixel are not free."""


class ThumbnailCache:
    """Thumbnails by key. The least recently requested one is dropped first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._images: OrderedDict[Hashable, Image] = OrderedDict()
        self.held_bytes = 0

    def get(self, key: Hashable) -> Image | None:
        """Return the picture, or None if it is not in the cache."""
        image = self._images.get(key)
        if image is not None:
            self._images.move_to_end(key)
        return image

    def put(self, key: Hashable, image: Image) -> None:
        """Add a picture, dropping older ones if needed. A picture larger than the whole cache is not added."""
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
