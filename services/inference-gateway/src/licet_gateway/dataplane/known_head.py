"""What a request head says, worked out once for as long as the client repeats it byte for byte."""

from __future__ import annotations

from licet_gateway.dataplane import replies
from licet_gateway.dataplane.credentials import read_credential
from licet_gateway.dataplane.http import RequestHead
from licet_gateway.domain import Credential, Refusal


class KnownHead:
    """Of the newest head. The reader gives the same object for the same bytes."""

    __slots__ = ("_credential", "_credential_head", "_fields", "_fields_head")

    def __init__(self) -> None:
        self._credential: Credential | Refusal | None = None
        self._credential_head: RequestHead | None = None
        self._fields = b""
        self._fields_head: RequestHead | None = None

    def credential(self, head: RequestHead) -> Credential | Refusal:
        """Who calls, or why that is not said."""
        if self._credential is None or self._credential_head is not head:
            self._credential = read_credential(head.fields)
            self._credential_head = head
        return self._credential

    def forwarded_fields(self, head: RequestHead) -> bytes:
        """The only client headers that Triton sees, rendered anew."""
        if self._fields_head is not head:
            self._fields = replies.render_fields(head.fields)
            self._fields_head = head
        return self._fields
