"""A confined job that does what its question says."""

from __future__ import annotations

import ctypes
import os
import time
from itertools import count

from dispatcher.confined.frames import Refused

_counted = count(1)


def answer(question: bytes) -> bytes:
    """Answer, or misbehave."""
    match question:
        case b"refuse":
            raise Refused("no")
        case b"bug":
            raise AssertionError
        case b"spin":
            return bytes(9**9**9)
        case b"sleep":
            time.sleep(600)
        case b"memory":
            return bytes(600 * 1024 * 1024)
        case b"crash":
            ctypes.string_at(0)
        case b"exit":
            os._exit(3)
        case b"count":
            return str(next(_counted)).encode()
        case b"environment":
            return repr(dict(os.environ)).encode()
    return str(os.getpid()).encode()
