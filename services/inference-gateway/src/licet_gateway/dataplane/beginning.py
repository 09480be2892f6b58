"""From the head of an HTTP/1.1 request to the call that serves it, or its refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from licet_gateway.dataplane.gathering import unmetered
from licet_gateway.dataplane.http_call import HttpCall
from licet_gateway.dataplane.openai_call import OpenAiCall
from licet_gateway.dataplane.routes import Action, Route
from licet_gateway.domain import Credential, Refusal

if TYPE_CHECKING:
    from licet_gateway.dataplane.client import ClientConnection
    from licet_gateway.dataplane.http import RequestHead
    from licet_gateway.dataplane.plane import DataPlane


def begin_call(
    plane: DataPlane,
    client: ClientConnection,
    head: RequestHead,
    route: Route,
    credential: Credential | Refusal,
) -> HttpCall | OpenAiCall | None:
    """The call of a head on a route of inference; None where the client is answered already."""
    problem = _problem(head, route)
    if problem is not None:
        client.fail(*problem)
        return None
    if isinstance(credential, Refusal):
        client.refuse(credential)
        return None
    refusal = plane.admission(head.content_length)
    if refusal is not None:
        client.refuse(refusal)
        return None
    if route.action is Action.OPENAI:
        return OpenAiCall(plane, client, head, route.endpoint, credential)
    return HttpCall(plane, client, head, route, credential)


def _problem(head: RequestHead, route: Route) -> tuple[int, str] | None:
    """Status and reason where such a head cannot be served on its route."""
    if route.action is Action.INFER:
        return unmetered(head.fields, route.operation)
    if head.fields.get(b"content-encoding", b"identity") != b"identity":
        return 415, "compressed request bodies are not served; send the body as it is"
    return None
