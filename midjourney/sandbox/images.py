"""URLs of pictures and videos as Discord's CDN signs them: they expire after a day, and their query string is the signature."""

from __future__ import annotations

from midjourney.sandbox import chance

LIFE_S = 24 * 3600
GONE = "This content is no longer available."


def address(base_url: str, name: str, now_s: int, *, expired: bool = False, variant: int = 0) -> str:
    """The URL of a picture, valid for a day from now. `expired`: already expired. Discord's URLs end with & too."""
    return f"{base_url}/mj/image/{name}.png?{_signature(name, now_s, expired, variant)}" if name else ""


def video_address(base_url: str, name: str, number: int, now_s: int, *, expired: bool = False) -> str:
    """The URL of the video with this number of a task, valid as long as that of its picture, which has this name."""
    return f"{base_url}/mj/video/{number}/{name}.gif?{_signature(name, now_s, expired, number)}"


def _signature(name: str, now_s: int, expired: bool, variant: int) -> str:
    until = now_s - 60 if expired else now_s + LIFE_S
    digits = f"{chance.number(name, until, variant) % 2**64:016x}"
    return f"ex={until:x}&is={until - LIFE_S:x}&hm={digits}&"


def is_expired(ex: str, now_s: int) -> bool:
    """True if a URL with this `ex` parameter has expired. A URL without it never expires."""
    try:
        return bool(ex) and int(ex, 16) < now_s
    except ValueError:
        return True
