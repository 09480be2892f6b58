"""Answers what payers ask to see, with the settler's key and in the gaps between its transactions.

An answer is safe to repeat and to lose: the contract takes it once, and what is not taken is sent again. So nothing of
it is stored before it is sent; the settler, whose transactions are, copes with a nonce that another one has spent.
"""

from __future__ import annotations

from typing import Final

from licet_kit.clock import Clock
from licet_kit.db import reading, transaction
from licet_kit.logs import get_logger
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_billing import telemetry
from licet_billing.clients.escrow import EscrowClient, SettlementRefused, SettlementTooLarge
from licet_billing.domain.challenges import Challenge, ChallengeState
from licet_billing.domain.errors import RecordInconsistent
from licet_billing.usecases import answering

log = get_logger(__name__)

# Why the contract refuses an answer: it has one, or the payer has its money; or it is too late.
_CLOSED: Final = "UsageEscrow_WrongDisputeStatus"
_MISSED: Final = "UsageEscrow_WrongDisputeTime"


class Answerer:
    """Answers the challenges of one operator on one chain."""

    def __init__(
        self, *, engine: AsyncEngine, escrow: EscrowClient, clock: Clock, resend_after_s: float
    ) -> None:
        self._engine = engine
        self._escrow = escrow
        self._clock = clock
        self._resend_after_s = resend_after_s
        self._sent: dict[str, float] = {}

    async def tick(self, nonce: int) -> bool:
        """Sends the most urgent answer with this nonce, which nothing else may need now; says whether it did."""
        chain_id, operator = self._escrow.chain.chain_id, self._escrow.operator
        async with reading(self._engine) as session:
            waiting = await answering.open_challenges(session, chain_id, operator)
        now = self._clock.monotonic()
        self._sent = {line: at for line, at in self._sent.items() if now - at < self._resend_after_s}
        for challenge in waiting:
            if challenge.line_id not in self._sent and await self._answer(challenge, nonce):
                self._sent[challenge.line_id] = now
                return True
        return False

    async def _answer(self, challenge: Challenge, nonce: int) -> bool:
        try:
            async with reading(self._engine) as session:
                shown = await answering.shown(session, challenge)
            if shown is None:
                await self._close(challenge, ChallengeState.OPEN, "these books have no such charge")
                return False
            signed = await self._escrow.sign_answer(shown, nonce, await self._escrow.market_fees())
        except SettlementRefused as error:
            await self._refused(challenge, error.reason)
            return False
        except (RecordInconsistent, SettlementTooLarge) as error:
            await self._close(challenge, ChallengeState.OPEN, str(error))
            return False
        reply = await self._escrow.send(signed.raw)
        telemetry.ANSWERS.add(1, {telemetry.LABEL_OUTCOME: str(reply.answer)})
        log.info(
            "answerer.sent",
            batch=challenge.batch.number,
            item=challenge.item,
            tx_hash=signed.tx_hash,
            outcome=str(reply.answer),
            error=reply.reason,
        )
        return True

    async def _refused(self, challenge: Challenge, reason: str) -> None:
        state = {_CLOSED: ChallengeState.CLOSED, _MISSED: ChallengeState.MISSED}.get(
            reason, ChallengeState.OPEN
        )
        await self._close(challenge, state, "" if state is ChallengeState.CLOSED else reason)

    async def _close(self, challenge: Challenge, state: ChallengeState, error: str) -> None:
        # It waits like one that was sent: what is wrong with it is not mended by asking at once again.
        self._sent[challenge.line_id] = self._clock.monotonic()
        if error:
            telemetry.ANSWERS.add(1, {telemetry.LABEL_OUTCOME: str(state)})
            log.error("answerer.refused", batch=challenge.batch.number, item=challenge.item, reason=error)
        async with transaction(self._engine) as session:
            await answering.close(session, challenge, state, error=error)
