"""What the gateway's ports say about TLS: the certificate, and which protocol is spoken inside."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

HTTP: Final = "http/1.1"
GRPC: Final = "h2"
# For TLS 1.2: forward secret and authenticated, which HTTP/2 asks for (RFC 9113, section 9.2.2). TLS 1.3 has no others.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsInvalid(ValueError):
    """The files do not make a server's certificate; the message names which, never what is in them."""


def server_context(certificate: Path, key: Path, protocol: str) -> ssl.SSLContext:
    """Serves the chain in `certificate` by `key`, both PEM, and agrees on `protocol` (ALPN). Raises TlsInvalid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A renegotiation would cost the server far more than the client that asks for it.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols([protocol])
    for path in (certificate, key):
        _check_readable(path)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or "not a certificate and its key without a password, in PEM"
        raise TlsInvalid(f"{certificate} and {key} do not serve: {reason}") from None
    return context


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise TlsInvalid(f"cannot read {path}: {error.strerror}") from None


def _no_password() -> str:
    """OpenSSL would ask the terminal."""
    return ""
