"""Refusal codes, and what a caller can do about each."""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Outcome of a decision: `ok`, or the refusal code of the shared interfaces."""

    OK = "ok"
    CREDENTIAL_INVALID = "credential_invalid"
    MODEL_UNKNOWN = "model_unknown"
    MODEL_NOT_READY = "model_not_ready"
    LICENSE_MISSING = "license_missing"
    LICENSE_EXPIRED = "license_expired"
    LICENSE_TRANSFERRED = "license_transferred"
    LICENSE_REVOKED = "license_revoked"
    LICENSE_DELEGATED = "license_delegated"
    DELEGATION_ENDED = "delegation_ended"
    MANDATE_ENDED = "mandate_ended"
    QUOTA_EXHAUSTED = "quota_exhausted"
    MIRROR_STALE = "mirror_stale"


MESSAGES: dict[Code, str] = {
    Code.OK: "the call may be made",
    Code.CREDENTIAL_INVALID: "the credential is unknown, expired or revoked",
    Code.MODEL_UNKNOWN: "no such model",
    Code.MODEL_NOT_READY: "the model has no active version",
    Code.LICENSE_MISSING: "the account holds no license for this model",
    Code.LICENSE_EXPIRED: "the license for this model has expired",
    Code.LICENSE_TRANSFERRED: "the license for this model was transferred away",
    Code.LICENSE_REVOKED: "the license for this model was revoked, or its purchase left the chain",
    Code.LICENSE_DELEGATED: "the license for this model is used by the account that it is delegated to",
    Code.DELEGATION_ENDED: "the license for this model is not delegated to the account any more",
    Code.MANDATE_ENDED: "the mandate of this key was revoked, or is over",
    Code.QUOTA_EXHAUSTED: "the units of the right are used up and no deposit covers the call",
    Code.MIRROR_STALE: "the state of the chain is not known well enough to decide",
}

REMEDIES: dict[Code, str] = {
    Code.OK: "",
    Code.CREDENTIAL_INVALID: "sign in again, or use a key of this installation",
    Code.MODEL_UNKNOWN: "check the model's name",
    Code.MODEL_NOT_READY: "ask the publisher to activate a version",
    Code.LICENSE_MISSING: "buy a license of one of the model's plans",
    Code.LICENSE_EXPIRED: "renew the license",
    Code.LICENSE_TRANSFERRED: "buy a license, or call from the account that holds it now",
    Code.LICENSE_REVOKED: "claim the refund of a revoked license; repeat a purchase that the chain lost",
    Code.LICENSE_DELEGATED: "end the delegation, or wait for its end",
    Code.DELEGATION_ENDED: "ask the holder to delegate the license again, or buy one",
    Code.MANDATE_ENDED: "ask the payer for another mandate, and for a key of it",
    Code.QUOTA_EXHAUSTED: "renew the license, deposit, or with a mandate's key wait for its next window",
    Code.MIRROR_STALE: "try again shortly",
}
