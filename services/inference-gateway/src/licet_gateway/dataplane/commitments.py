"""What a call that goes over gRPC to Triton commits to: its client's request and the answer that it was sent."""

from __future__ import annotations

import hashlib


class Commitments:
    """sha256(request id ‖ body) of both, once the request has left. What never began to run commits to nothing."""

    __slots__ = ("_answer", "_request", "bytes_out")

    def __init__(self, name: str, request: bytes) -> None:
        prefix = name.encode()
        self._request = hashlib.sha256(prefix + request)
        self._answer = hashlib.sha256(prefix)
        # Bytes of the answer so far.
        self.bytes_out = 0

    def add(self, data: bytes) -> None:
        """More of the answer."""
        self._answer.update(data)
        self.bytes_out += len(data)

    def digests(self) -> tuple[bytes, bytes]:
        """Of the request and of the answer."""
        return self._request.digest(), self._answer.digest()
