"""The bodies that the REST API takes and gives."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from licet_licensing.db.accounts import ApiKey, LoggedDecision
from licet_licensing.domain import siwe
from licet_licensing.domain.credentials import MAX_ID_CHARS
from licet_licensing.domain.grants import Grant
from licet_licensing.domain.scene import Step
from licet_licensing.events import grant_message
from licet_licensing.usecases import identity


class Strict(BaseModel):
    """A request body: unknown fields are refused, so that a typo is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class NonceView(BaseModel):
    nonce: str
    expires_in_s: int


class SignInBody(Strict):
    message: str = Field(max_length=siwe.MAX_MESSAGE_CHARS)
    signature: str = Field(max_length=200)


class SessionView(BaseModel):
    session: str
    account_id: str
    expires_at: datetime


class KeyBody(Strict):
    name: str = Field(min_length=1, max_length=identity.MAX_NAME_CHARS)
    # The mandate that the key spends by alone.
    mandate_id: str = Field(default="", max_length=MAX_ID_CHARS)


class KeyView(BaseModel):
    id: str
    name: str
    hint: str
    created_at: datetime
    mandate_id: str


class NewKeyView(KeyView):
    key: str


class AccountBody(BaseModel):
    account_id: str
    wallets: list[str]
    created_at: datetime


class GrantView(BaseModel):
    """The equation of one right: granted = free + leased + suspended + spent + lapsed, in decimal strings."""

    grant_id: str
    source: str
    state: str
    generation: int
    wallet: str
    chain_id: int
    contract: str
    token_id: str
    window: int
    plan_id: str
    asset_id: str
    operator: str
    currency: str
    end_time: int
    user: str
    user_until: int
    granted: str
    free: str
    leased: str
    suspended: str
    spent: str
    lapsed: str


class StepView(BaseModel):
    subject: str
    usable: bool
    code: str
    detail: str


class PositionView(BaseModel):
    chain_id: int
    block_number: int
    block_hash: str


class DecisionView(BaseModel):
    decision_id: str
    code: str
    asset_id: str
    grant_id: str
    lease_id: str
    units: str
    position: PositionView
    steps: list[StepView]
    decided_at: datetime


class ExplainBody(Strict):
    slug: str = Field("", max_length=80)
    asset_id: str = Field("", max_length=66)
    decision_id: str = Field("", max_length=64)


class ExplanationView(BaseModel):
    decision_id: str
    code: str
    message: str
    steps: list[StepView]


class IntrospectBody(Strict):
    api_key: str = Field("", max_length=200)
    session: str = Field("", max_length=200)


class Introspection(BaseModel):
    account_id: str
    wallets: list[str]


def key_view(key: ApiKey) -> KeyView:
    return KeyView(
        id=key.key_id,
        name=key.name,
        hint=key.hint,
        created_at=key.created_at,
        mandate_id=key.mandate_id,
    )


def grant_view(grant: Grant) -> GrantView:
    said = grant_message(grant, "")
    values = {name: getattr(said, name) for name in GrantView.model_fields if name != "source"}
    return GrantView(source=grant.source.value, **values)


def step_view(step: Step) -> StepView:
    return StepView(subject=step.subject, usable=step.usable, code=step.code.value, detail=step.detail)


def decision_view(decision: LoggedDecision) -> DecisionView:
    return DecisionView(
        decision_id=decision.decision_id,
        code=decision.code.value,
        asset_id=decision.asset_id,
        grant_id=decision.grant_id,
        lease_id=decision.lease_id,
        units=str(decision.units),
        position=PositionView(
            chain_id=decision.chain_id, block_number=decision.block_number, block_hash=decision.block_hash
        ),
        steps=[step_view(step) for step in decision.steps],
        decided_at=decision.decided_at,
    )
