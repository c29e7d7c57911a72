"""The tokens in the links of approvals: each opens one approval, and is derived from the secret and the approval's id."""

from __future__ import annotations

import base64
import hmac

PATH = "/approve/"
"""Where the links lead."""


def approval_token(secret: str, approval_id: str) -> str:
    """Return 24 characters (144 bits) that nobody can guess without the secret."""
    digest = hmac.new(secret.encode(), f"approval\0{approval_id}".encode(), "sha256").digest()
    return base64.urlsafe_b64encode(digest[:18]).decode()


def approval_path(secret: str, approval_id: str) -> str:
    """Return the path of an approval's link."""
    return f"{PATH}{approval_id}/{approval_token(secret, approval_id)}"


def opens(secret: str, approval_id: str, token: str) -> bool:
    """True if the token is that of this approval. Takes equally long for every token."""
    return hmac.compare_digest(approval_token(secret, approval_id).encode(), token.encode())


def without_token(path: str) -> str:
    """Return a path as logs may have it: of a link only which approval it is for."""
    if not path.startswith(PATH):
        return path
    return f"{PATH}{path.removeprefix(PATH).partition('/')[0]}/…"
