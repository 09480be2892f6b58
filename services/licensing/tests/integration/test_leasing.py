"""Lending in batches: ordinals, repetitions, renewals, refusals, decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from licet_kit.ids import new_id
from licet_licensing import telemetry
from licet_licensing.domain.codes import Code
from licet_licensing.domain.errors import RequestReused
from licet_licensing.testing.words import (
    ALICE,
    BOB,
    CHAIN_ID,
    DEPOSIT_GRANT,
    DIGEST,
    PERIOD_S,
    PLAN_KEY,
    SLUG,
    activated,
    block_hash,
    grant_id,
    planned,
    registered,
    retracted,
    transferred,
)
from licet_licensing.testing.world import World, record
from licet_licensing.usecases.leasing import Denied, Granted, RenewAsk
from licet_schemas.licet.licensing.v1 import licensing_pb2 as licensing


async def test_a_lease_says_all_that_a_worker_needs(world: World) -> None:
    await world.market()
    await world.buy()
    lease = await world.lease(wanted=10)
    now = world.now.timestamp()
    assert (lease.grant_id, lease.generation, lease.source) == (grant_id(), 1, "license")
    assert (lease.units, lease.max_amount, lease.units_remaining) == (10, 0, 90)
    assert (lease.plan_key, lease.metering_rule, lease.requests_per_s) == (PLAN_KEY, "request", 10)
    assert (lease.slug, lease.version_digest, lease.account_lease) == (SLUG, DIGEST, 1)
    assert (lease.chain_id, lease.block_number, lease.block_hash) == (CHAIN_ID, 5, block_hash(5))
    assert lease.expires_at == now + 10
    assert len(lease.lease_id) == 32


async def test_a_batch_lends_each_unit_once_and_counts_leases_without_a_gap(world: World) -> None:
    await world.market()
    await world.buy()
    key = await world.key_of(ALICE)
    answers = await world.answer(*[world.ask(key, wanted=30) for _ in range(6)])
    granted = [answer for answer in answers if isinstance(answer, Granted)]
    assert [lease.units for lease in granted] == [30, 30, 30, 10]
    assert [lease.account_lease for lease in granted] == [1, 2, 3, 4]
    assert {answer.code for answer in answers if isinstance(answer, Denied)} == {Code.QUOTA_EXHAUSTED}
    assert await world.units() == (0, 100, 0, 0, 0)


async def test_a_repeated_request_gets_the_same_answer_and_lends_nothing(world: World) -> None:
    await world.market()
    await world.buy()
    ask = world.ask(await world.key_of(ALICE))
    (first,) = await world.answer(ask)
    world.clock.advance(3)
    (again,) = await world.answer(ask)
    assert again == first
    assert await world.units() == (90, 10, 0, 0, 0)
    (reused,) = await world.answer(replace(ask, fingerprint=b"other"))
    assert isinstance(reused, RequestReused)
    refused = world.ask(None)
    assert await world.answer(refused) == await world.answer(refused)
    assert len(await world.rows("decisions")) == 1


async def test_each_worker_gets_its_share_of_units_and_rate(world: World) -> None:
    await world.market()
    await world.buy()
    await world.lease(wanted=1, worker_id="a")
    second = await world.lease(wanted=100, worker_id="b")
    assert (second.units, second.requests_per_s) == (49, 5)
    world.clock.advance(91)
    await world.block(6)
    alone = await world.lease(wanted=10, worker_id="b")
    assert alone.requests_per_s == 10


async def test_refusals_say_why(world: World) -> None:
    assert (await world.refusal()).code == Code.MODEL_UNKNOWN
    await world.hear(registered(), planned())
    assert (await world.refusal()).code == Code.MODEL_NOT_READY
    await world.hear(activated())
    await world.block(2)
    assert (await world.refusal()).code == Code.LICENSE_MISSING
    await world.buy()
    (invalid,) = await world.answer(world.ask(b"0" * 32))
    assert isinstance(invalid, Denied)
    assert invalid.code == Code.CREDENTIAL_INVALID
    assert (await world.refusal(slug="owner/other")).code == Code.MODEL_UNKNOWN
    assert (await world.refusal(min_block=6)).code == Code.MIRROR_STALE
    assert (await world.refusal(minimum=101)).code == Code.QUOTA_EXHAUSTED
    world.clock.advance(61)
    assert (await world.refusal()).code == Code.MIRROR_STALE
    world.clock.advance(PERIOD_S)
    await world.block(6)
    assert (await world.refusal()).code == Code.LICENSE_EXPIRED


async def test_a_block_that_was_heard_of_is_known(world: World) -> None:
    await world.market()
    await world.hear(world.purchased(9))
    await world.lease(min_block=9, wanted=1)
    assert (await world.refusal(min_block=10)).code == Code.MIRROR_STALE


async def test_a_revoked_key_opens_nothing(world: World) -> None:
    await world.market()
    await world.buy()
    await world.key_of(ALICE)
    await world.execute("UPDATE api_keys SET revoked_at = now()")
    assert (await world.refusal()).code == Code.CREDENTIAL_INVALID


async def test_no_lease_after_a_revocation(world: World) -> None:
    """Invariant 1: what the chain took away is lent no more, whichever way it went."""
    await world.market()
    bought = await world.buy(5)
    await world.lease(wanted=1)
    await world.hear(transferred(7, ALICE, BOB))
    assert (await world.refusal(ALICE)).code == Code.LICENSE_TRANSFERRED
    await world.lease(BOB, wanted=1)
    await world.hear(retracted(world.sent[-1]), retracted(bought))
    for wallet in (ALICE, BOB):
        assert (await world.refusal(wallet)).code in (Code.LICENSE_REVOKED, Code.LICENSE_MISSING)
    assert [generation for _, generation, _ in await world.revocations()] == [2, 3]


async def test_a_deposit_lease_requires_the_license_and_reserves_its_price(world: World) -> None:
    await world.market(unit_price="7", included_units=2)
    await world.buy()
    await world.deposit(6, 1_000)
    included = await world.lease(wanted=2)
    lease = await world.lease(wanted=10)
    assert (lease.source, lease.grant_id, lease.units, lease.max_amount) == ("deposit", DEPOSIT_GRANT, 10, 70)
    assert (lease.requires_grant_id, lease.requires_generation) == (grant_id(), 1)
    assert lease.units_remaining == 930 // 7
    assert await world.units(DEPOSIT_GRANT) == (930, 70, 0, 0, 0)
    await world.count(record(lease, 1, 3, last=True), record(included, 1, 0, last=True))
    assert await world.units(DEPOSIT_GRANT) == (979, 0, 0, 21, 0)
    assert (await world.lease(wanted=1)).source == "license"


async def test_a_renewal_extends_the_lease_and_tops_it_up(world: World) -> None:
    await world.market()
    await world.buy()
    lease = await world.lease(wanted=10)
    world.clock.advance(8)
    renewed = await renew(world, lease, wanted=5)
    assert isinstance(renewed, Granted)
    assert (renewed.lease_id, renewed.account_lease, renewed.units) == (lease.lease_id, 1, 15)
    assert renewed.expires_at == lease.expires_at + 8
    assert await world.units() == (85, 15, 0, 0, 0)
    await world.count(record(lease, 1, 15, last=True))
    assert await world.units() == (85, 0, 0, 15, 0)


async def test_a_renewal_without_free_units_still_extends(world: World) -> None:
    await world.market()
    await world.buy()
    lease = await world.lease(wanted=100)
    world.clock.advance(8)
    renewed = await renew(world, lease, wanted=5)
    assert isinstance(renewed, Granted)
    assert (renewed.units, renewed.expires_at) == (100, lease.expires_at + 8)


async def test_a_lease_that_is_over_is_not_renewed(world: World) -> None:
    await world.market()
    await world.buy()
    lease = await world.lease(wanted=10)
    for other in (replace(lease, lease_id=new_id()), lease):
        denied = await renew(world, other, worker_id="somebody else")
        assert isinstance(denied, Denied)
    await world.hear(transferred(7, ALICE, BOB))
    assert isinstance(await renew(world, lease), Denied)
    await world.hear(retracted(world.sent[-1]))
    assert isinstance(await renew(world, lease), Denied)
    fresh = await world.lease(wanted=1)
    world.clock.advance(10)
    assert isinstance(await renew(world, fresh), Denied)
    assert (await world.grant()).leased == 11


async def test_a_deposit_is_not_renewed_while_included_units_are_free(world: World) -> None:
    await world.market(unit_price="7", included_units=2)
    await world.buy()
    await world.deposit(6, 1_000)
    included = await world.lease(wanted=2)
    lease = await world.lease(wanted=10)
    assert isinstance(await renew(world, lease, wanted=1), Granted)
    await world.count(record(included, 1, 0, last=True))
    assert isinstance(await renew(world, lease, wanted=1), Denied)


async def second_plan(world: World, unit_price: str) -> None:
    """Another plan of the same model, which the caller buys a second after the first one."""
    plan = planned(unit_price=unit_price, included_units=0)
    plan.plan_created.plan_id, plan.log_index, plan.event_id = "2", 1, "second plan"
    await world.hear(plan)
    await world.finality(2)
    world.clock.advance(1)
    bought = world.purchased(7, token_id=2)
    bought.license_purchased.plan_id = "2"
    await world.hear(bought)
    await world.finality(7)


async def test_a_deposit_lease_is_not_topped_up_at_another_plans_price(world: World) -> None:
    await world.market(unit_price="100", included_units=0)
    await world.buy()
    await world.deposit(6, 850)
    lease = await world.lease(wanted=8)
    await second_plan(world, "1")
    renewed = await renew(world, lease, wanted=8)
    assert isinstance(renewed, Granted)
    assert (renewed.units, renewed.max_amount, renewed.expires_at) == (8, 800, lease.expires_at + 1)
    cheap = await world.lease(wanted=8)
    assert (cheap.units, cheap.max_amount) == (8, 8)
    assert await world.units(DEPOSIT_GRANT) == (42, 808, 0, 0, 0)


async def renew(
    world: World, lease: Granted, *, wanted: int = 1, worker_id: str = "worker-1"
) -> Granted | Denied | RequestReused:
    (answer,) = await world.answer(RenewAsk(new_id(), b"print", worker_id, lease.lease_id, wanted))
    return answer


async def test_every_decision_is_kept_and_told(world: World) -> None:
    await world.market()
    await world.buy()
    lease = await world.lease(wanted=10)
    refused = await world.refusal(slug="owner/other")
    told = {said.decision_id: said for said in await world.told(licensing.DecisionLogged)}
    assert set(told) == {lease.decision_id, refused.decision_id}
    assert (told[lease.decision_id].code, told[lease.decision_id].units) == ("ok", 10)
    assert told[refused.decision_id].code == "model_unknown"
    kept = {row.decision_id: row for row in await world.rows("decisions")}
    assert kept[lease.decision_id].steps == [
        {"subject": grant_id(), "code": "ok", "detail": "10 of 100 free units"}
    ]


async def test_a_key_of_nobody_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr(telemetry.STRANGERS, "add", counted.append)
    await world.market()
    before = len(await world.rows("outbox"))
    asks = [*[world.ask(bytes([number]) * 32) for number in range(20)], world.ask(None)]
    for _ in range(2):  # a repetition is refused anew
        answers = await world.answer(*asks)
        assert {(a.code, a.decision_id) for a in answers if isinstance(a, Denied)} == {
            ("credential_invalid", "")
        }
        assert len(answers) == len(asks)
    kept = [len(await world.rows(name)) for name in ("decisions", "lease_requests", "outbox")]
    assert kept == [0, 0, before]
    assert sum(counted) == 2 * len(asks)


async def test_units_are_told_within_a_second_of_the_last_change(world: World) -> None:
    await world.market()
    await world.buy()
    for _ in range(3):
        await world.lease(wanted=1)
    before = len(await world.told(licensing.GrantChanged))
    await world.sweep()
    assert len(await world.told(licensing.GrantChanged)) == before
    world.clock.advance(1)
    await world.sweep()
    told = await world.told(licensing.GrantChanged)
    assert len(told) == before + 1
    assert (told[-1].free, told[-1].leased) == ("97", "3")
    assert [said.version for said in told] == sorted(said.version for said in told)


async def test_the_first_sign_in_tells_whose_the_grants_are(world: World) -> None:
    await world.market()
    await world.buy()
    assert (await world.told(licensing.GrantChanged))[-1].account_id == ""
    lease = await world.lease()
    assert (await world.told(licensing.GrantChanged))[-1].account_id == lease.account_id
