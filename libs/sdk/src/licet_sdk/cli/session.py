"""The client of one command, closed with it."""

from __future__ import annotations

import typer

from licet_sdk.client import Client


def connect(context: typer.Context) -> Client:
    """A client configured from the environment; its connections end with the command."""
    client = Client()
    context.call_on_close(client.close)
    return client
