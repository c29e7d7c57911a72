"""The certificate authorities that are trusted."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """The authorities of certifi, or those in SSL_CERT_FILE or SSL_CERT_DIR. Cached, because reading them blocks for tens of
    milliseconds."""
    return httpx.create_ssl_context()
