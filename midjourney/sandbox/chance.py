"""Numbers that look random and follow from the seed alone, whatever the order of asking."""

from hashlib import blake2b

_SNOWFLAKE_FLOOR = 1_300_000_000_000_000_000  # Discord's ids of 2025 have 19 digits, above 2^53


def number(*parts: object) -> int:
    """A whole number of 120 bits; equal parts give equal numbers, in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=15).digest(), "big")


def fraction(*parts: object) -> float:
    """From 0.0 up to, but without, 1.0."""
    return number(*parts) % 2**52 / 2**52


def snowflake(*parts: object) -> str:
    """An id of Discord (message, channel, user): 19 digits, as a string."""
    return str(_SNOWFLAKE_FLOOR + number(*parts) % 10**17)


def uuid(*parts: object) -> str:
    """A job id of Midjourney, the one inside every customId: `0ddb91a0-af46-4ae9-8e8e-c271074eb6e6`."""
    digits = f"{number(*parts):030x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[15:18]}-{digits[18:30]}"
