"""HTTP clients for tests, which speak to loopback in the clear."""

import ssl
from typing import Any

import httpx2

# Reading the system's certificates costs 20 ms of processor a client, and tests open one each time they look.
_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def http_client(**options: Any) -> httpx2.AsyncClient:
    """Return a client with httpx2's own options that trusts no certificate."""
    return httpx2.AsyncClient(verify=_NO_CERTIFICATES, **options)
