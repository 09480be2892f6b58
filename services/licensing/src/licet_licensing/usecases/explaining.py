"""Explaining decisions: the same function that decides, on rights that are read and not locked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing.db import accounts, leases
from licet_licensing.db.accounts import LoggedDecision
from licet_licensing.domain.codes import MESSAGES, Code
from licet_licensing.domain.credentials import is_id
from licet_licensing.domain.decisions import decide
from licet_licensing.domain.errors import NotFound
from licet_licensing.domain.scene import Ask, Policy, Step
from licet_licensing.usecases.board import WORKER_ACTIVE, Need, read_board, read_mandates, read_rights


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and the looks that led to it. `decision_id` is empty when nothing was decided."""

    decision_id: str
    code: Code
    message: str
    steps: tuple[Step, ...]


async def explain(session: AsyncSession, need: Need, policy: Policy, now: datetime) -> Explanation:
    """Why a call of one unit would be admitted or refused now. Lends nothing."""
    board = await read_board(session, [need], now)
    board.workers = max(1, len(await leases.active_workers(session, now - WORKER_ACTIVE)))
    if need.credential_hash is not None:
        await read_mandates(session, board, [need.credential_hash], lock=False)
    await read_rights(session, board, policy, lock=False)
    decision = decide(Ask(1, 1), board.scene(need), policy)
    code = Code(decision.code)
    return Explanation("", code, MESSAGES[code], decision.steps)


async def explain_past(session: AsyncSession, account_id: str, decision_id: str) -> Explanation:
    """Why a past decision came out as it did; `NotFound` when the account has none of that id."""
    decision = await past_decision(session, account_id, decision_id)
    return Explanation(decision.decision_id, decision.code, MESSAGES[decision.code], decision.steps)


async def past_decision(session: AsyncSession, account_id: str, decision_id: str) -> LoggedDecision:
    """A decision about this account; `NotFound` when the account has none of that id."""
    decision = await accounts.decision(session, account_id, decision_id) if is_id(decision_id) else None
    if decision is None:
        raise NotFound("no such decision")
    return decision
