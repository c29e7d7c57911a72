"""Pseudo-random values that depend only on their arguments, not on the order of the calls."""

from hashlib import blake2b

# Discord's ids of 2025 have 19 digits and exceed 2^53.
_SNOWFLAKE_FLOOR = 1_300_000_000_000_000_000


def number(*parts: object) -> int:
    """An integer of 120 bits. Equal parts give equal numbers in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=15).digest(), "big")


def fraction(*parts: object) -> float:
    """A number in [0.0, 1.0)."""
    return number(*parts) % 2**52 / 2**52


def snowflake(*parts: object) -> str:
    """A Discord id (message, channel or user): a string of 19 digits."""
    return str(_SNOWFLAKE_FLOOR + number(*parts) % 10**17)


def uuid(*parts: object) -> str:
    """A Midjourney job id, as inside every customId: `0ddb91a0-af46-4ae9-8e8e-c271074eb6e6`."""
    digits = f"{number(*parts):030x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[15:18]}-{digits[18:30]}"
