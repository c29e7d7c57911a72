"""Opens image files so that only regular files are read, and nothing else can block."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from midjourney.image_data import LARGEST_BYTES, BadImage, Image, image_of_bytes

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # otherwise a FIFO without a writer would block, and SIGTERM with it
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


def inside(path: Path, folders: Sequence[Path]) -> Path:
    """The real path, after symbolic links. Raises `BadImage` unless it is below one of the folders."""
    try:
        real = path.resolve()
        if any(real.is_relative_to(folder.resolve()) for folder in folders):
            return real
    except (OSError, ValueError, RuntimeError) as error:  # such as a NUL in it, or circular links
        raise BadImage(f"{path} cannot be read: {error}") from error
    allowed = ", ".join(str(folder) for folder in folders)
    raise BadImage(
        f"{path} is not below {allowed}; move it there, or name its folder in the setting image_folders"
    )


def read_file(path: Path, *, largest: int = LARGEST_BYTES) -> Image:
    """The image in a regular file; symbolic links in its path are followed. Raises `BadImage`. Blocks only while the disk reads."""
    try:
        opened = os.open(path.resolve(), _FLAGS)
        try:
            data = _all_of(opened, path, largest)
        finally:
            os.close(opened)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadImage(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return image_of_bytes(data, what=str(path), largest=largest)


def _all_of(opened: int, path: Path, largest: int) -> bytes:
    about = os.fstat(opened)
    if not stat.S_ISREG(about.st_mode):
        raise BadImage(f"{path} cannot be read: it is not a regular file")
    if about.st_size > largest:
        raise BadImage(f"{path} has {about.st_size} bytes; at most {largest} are allowed: make it smaller")
    with os.fdopen(os.dup(opened), "rb") as file:
        return file.read(largest + 1)  # the file may grow in the meantime
