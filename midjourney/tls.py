"""Which servers are believed to be who they say they are."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """The authorities of certifi, or those that SSL_CERT_FILE or SSL_CERT_DIR name. Made once: reading them takes tens of
    milliseconds, in which nothing else happens."""
    return httpx.create_ssl_context()
