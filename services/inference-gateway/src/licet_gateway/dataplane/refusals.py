"""The refusals that the gateway itself decides; all others are licensing's words."""

from __future__ import annotations

from typing import Final

from licet_gateway.domain import Refusal

_SOON_MS: Final = 1000

CREDENTIAL_MISSING: Final = Refusal(
    "credential_missing",
    "this model is licensed and the request carries no credential",
    "send `Authorization: Bearer <API key>`; create a key with `licet key create`",
)
CREDENTIAL_INVALID: Final = Refusal(
    "credential_invalid",
    "the credential is not a Licet API key or session",
    "check that the whole key was copied, or create one with `licet key create`",
)
LICENSING_SILENT: Final = Refusal(
    "licensing_unavailable", "licensing did not answer in time", "try again; nothing was charged", _SOON_MS
)
NOT_CAUGHT_UP: Final = Refusal(
    "licensing_unavailable",
    "the gateway is still reading which rights were revoked",
    "try again shortly",
    _SOON_MS,
)
LEASE_DIED: Final = Refusal(
    "licensing_unavailable", "the lease ran out before the call began", "try again", _SOON_MS
)
TOO_MANY_WAITING: Final = Refusal(
    "overloaded", "the gateway has too many waiting calls", "try again shortly", _SOON_MS
)
TOO_MANY_CLIENTS: Final = Refusal(
    "overloaded", "the gateway has too many connections", "try again shortly", _SOON_MS
)
QUEUED_TOO_LONG: Final = Refusal(
    "overloaded", "the inference server had no room for the call in time", "try again shortly", _SOON_MS
)
LOG_FULL: Final = Refusal(
    "overloaded", "the gateway cannot write down more usage now", "try again shortly", _SOON_MS
)
NOT_READY: Final = Refusal(
    "model_not_ready", "the model is not loaded on any inference server", "try again shortly", _SOON_MS
)
NOT_CERTIFIED: Final = Refusal(
    "model_not_ready",
    "this gateway is not certified to sign receipts for the chain of the right",
    "tell the operator of this gateway",
    _SOON_MS,
)
UNREACHABLE: Final = Refusal(
    "model_not_ready", "the inference server does not answer", "try again shortly", _SOON_MS
)
UNLOADED: Final = Refusal(
    "model_not_ready", "the inference server has unloaded the model", "try again shortly", _SOON_MS
)
UNKNOWN: Final = Refusal(
    "model_unknown", "no such model is served here", "check the name: owner.model, as in the catalogue"
)
RULE_DIFFERS: Final = Refusal(
    "policy_denied",
    "the plan's metering rule is not the one of the model's manifest",
    "tell the publisher: this plan cannot be served",
)


def body_too_large(limit: int) -> Refusal:
    """The body is longer than this gateway takes."""
    return Refusal(
        "request_too_large", f"the request body is longer than {limit} bytes", "send smaller batches"
    )


def revoked(code: str) -> Refusal:
    """A right that licensing revoked, and still seems to lend."""
    return Refusal(code, "the right was revoked", "renew or buy a license for this model")
