"""Following the chain: events become facts, and what the facts say becomes grants.

The state of a right is derived anew from its standing facts whenever one of them comes, goes or becomes final. So an
event that is late, repeated, out of order or from a chain that lost cannot leave a trace.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from licet_kit.logs import get_logger
from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing.db import chain, leases, mandates, rights
from licet_licensing.domain.codes import Code
from licet_licensing.domain.facts import (
    Asset,
    Fact,
    FactKind,
    Series,
    deposit_totals,
    fold_license,
    license_fact,
    plan_of,
    series_of,
    series_subject,
)
from licet_licensing.domain.grants import (
    Grant,
    GrantChange,
    LicenseWindow,
    end_leases,
    follow_deposit,
    follow_license,
    follow_mandate,
    open_deposit_grant,
    open_license_grant,
    revoke_uncovered,
)
from licet_licensing.domain.leases import orphan
from licet_licensing.domain.mandates import mandate_of
from licet_licensing.usecases.telling import Positions, positions, tell_changes

log = get_logger(__name__)

# Subjects that one transaction brings to finality; the sweep goes on until none is left.
FINALISE_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Heard:
    """An event as it came: where it stands, what it says of rights (if anything), and when it was sent."""

    chain_id: int
    block_number: int
    block_hash: str
    standing: bool
    asset_id: str | None
    facts: tuple[Fact, ...]
    sent_at: datetime


@dataclass(slots=True)
class _Outcome:
    """What following some subjects changes."""

    opened: list[tuple[str, Grant]] = field(default_factory=list)
    changes: list[GrantChange] = field(default_factory=list)

    def end_windows(self, known: Mapping[str, Mapping[str, Grant]], deposit: str, why: Code) -> None:
        """End the leases of the windows that draw on a deposit, on top of what was changed of them before."""
        changed = {change.grant.grant_id: place for place, change in enumerate(self.changes)}
        for window in (grant for grants in known.values() for grant in grants.values()):
            if window.draws_on != deposit:
                continue
            place = changed.get(window.grant_id)
            if place is None:
                self.changes.append(end_leases(window, why))
            elif self.changes[place].revoked is None:
                self.changes[place] = end_leases(self.changes[place].grant, why)


async def hear_events(session: AsyncSession, heard: Sequence[Heard], now: datetime) -> None:
    """Take in chain events, each once, in whatever order they come."""
    facts = [fact for event in heard for fact in event.facts]
    subjects = {fact.subject for fact in facts}
    planned = {str(fact.body["plan_key"]) for fact in facts if fact.kind is FactKind.PLAN_CREATED}
    if planned:
        subjects |= await chain.licenses_of_plans(session, planned)
    newest = _newest_blocks(heard)
    if subjects:
        subjects |= await _lock_series(session, facts)
        await chain.lock_subjects(session, subjects)
        await chain.keep_facts(session, facts)
        retracted = {fact.subject for fact in facts if not fact.standing}
        await _follow(session, subjects, retracted, {**await positions(session), **newest}, now)
    await chain.touch_assets(session, _newest_of_assets(heard))
    sent_at = max(event.sent_at for event in heard)
    for chain_id, lowest in sorted(_lowest_retracted(heard).items()):
        await chain.hear_of_retraction(session, chain_id, lowest, sent_at)
    await chain.hear_of_blocks(session, newest, sent_at)


async def _lock_series(session: AsyncSession, facts: Sequence[Fact]) -> set[str]:
    """The deposits that are to be followed anew, because what is heard of their token makes it a series of credits."""
    opened = {fact.subject: fact for fact in facts if fact.kind is FactKind.SERIES_OPENED}
    totals = (fact for fact in facts if fact.kind is FactKind.DEPOSIT_TOTAL)
    read = {series_subject(fact.chain_id, str(fact.body["token"])) for fact in totals}
    await chain.lock_series(session, opened, read)
    tokens = [(fact.chain_id, fact.subject.rpartition(":")[2]) for fact in opened.values()]
    return await rights.deposits_in(session, tokens) if tokens else set()


async def hear_of_finality(
    session: AsyncSession, chain_id: int, number: int, block_hash: str, sent_at: datetime
) -> None:
    """Note the highest final block of a chain; `finalise` then applies it to the rights that waited for it."""
    await chain.hear_of_finality(session, chain_id, number, block_hash, sent_at)


async def finalise(session: AsyncSession, now: datetime, limit: int = FINALISE_LIMIT) -> int:
    """Follow rights whose facts became final; returns how many."""
    subjects = set(await chain.subjects_to_finalise(session, limit))
    if subjects:
        await chain.lock_subjects(session, subjects)
        await _follow(session, subjects, frozenset(), await positions(session), now)
    return len(subjects)


def _newest_blocks(heard: Sequence[Heard]) -> dict[int, tuple[int, str]]:
    newest: dict[int, tuple[int, str]] = {}
    for event in heard:
        if event.standing:
            place = (event.block_number, event.block_hash)
            newest[event.chain_id] = max(newest.get(event.chain_id, place), place)
    return newest


def _lowest_retracted(heard: Sequence[Heard]) -> dict[int, int]:
    lowest: dict[int, int] = {}
    for event in heard:
        if not event.standing:
            lowest[event.chain_id] = min(lowest.get(event.chain_id, event.block_number), event.block_number)
    return lowest


def _newest_of_assets(heard: Sequence[Heard]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for event in heard:
        if event.standing and event.asset_id is not None:
            newest[event.asset_id] = max(newest.get(event.asset_id, 0), event.block_number)
    return newest


async def _follow(
    session: AsyncSession, subjects: Collection[str], retracted: Collection[str], at: Positions, now: datetime
) -> None:
    await chain.mark_final(session, subjects)
    await _follow_plans(session, _of("plan", subjects))
    await _follow_assets(session, _of("asset", subjects))
    licenses, deposits = _of("license", subjects), _of("deposit", subjects)
    known_mandates = await _save_mandates(session, _of("mandate", subjects))
    # With a deposit whose money may be gone the windows that draw on it are looked at, too.
    paying = [_grant_id(subject, 0) for subject in deposits if subject in retracted]
    known = await rights.lock_subject_grants(session, [*licenses, *deposits, *known_mandates], paying)
    outcome = _Outcome()
    for subject, mandate in known_mandates.items():
        _follow_windows_of(mandate, known.get(subject, {}), outcome)
    await _follow_licenses(session, licenses, known, outcome, now)
    await _follow_deposits(session, deposits, known, retracted, outcome, now)
    await _write(session, outcome, at, now)


async def _save_mandates(session: AsyncSession, subjects: Sequence[str]) -> dict[str, bool]:
    """Write mandates as their facts say they are; whether each stands. Before their windows are locked, so that none
    is opened of a mandate that was revoked."""
    newest = await chain.newest_facts(session, subjects)
    final = {mirror.chain_id: mirror.final_block for mirror in (await chain.mirrors(session)).values()}
    stands: dict[str, bool] = {}
    for subject in subjects:
        opened = newest.get((subject, FactKind.MANDATE_OPENED))
        key = subject.removeprefix("mandate:")
        if opened is None:
            await mandates.withdraw(session, key)
            stands[subject] = False
            continue
        stands[subject] = (subject, FactKind.MANDATE_REVOKED) not in newest
        is_final = opened.place.block_number <= final.get(opened.chain_id, -1)
        await mandates.save(session, mandate_of(key, opened, is_final=is_final, stands=stands[subject]))
    return stands


def _follow_windows_of(stands: bool, grants: dict[str, Grant], outcome: _Outcome) -> None:
    changes = (follow_mandate(grant, stands=stands) for grant in grants.values())
    outcome.changes.extend(change for change in changes if change is not None)


def _of(kind: str, subjects: Collection[str]) -> list[str]:
    return sorted(subject for subject in subjects if subject.startswith(f"{kind}:"))


async def _follow_plans(session: AsyncSession, subjects: Sequence[str]) -> None:
    for facts in (await chain.standing_facts(session, subjects)).values():
        await chain.save_plan(session, plan_of(facts[-1]))


async def _follow_assets(session: AsyncSession, subjects: Sequence[str]) -> None:
    newest = await chain.newest_facts(session, subjects)
    for subject in subjects:
        registered = newest.get((subject, FactKind.ASSET_REGISTERED))
        activated = newest.get((subject, FactKind.VERSION_ACTIVATED))
        asset_id = subject.removeprefix("asset:")
        if registered is None:
            await chain.withdraw_asset(session, asset_id)
            continue
        asset = Asset(
            asset_id=asset_id,
            chain_id=registered.chain_id,
            slug=str(registered.body["slug"]),
            version_digest=str(activated.body["version_digest"]) if activated else None,
            last_block=registered.place.block_number,
        )
        await chain.save_asset(session, asset, standing=True)


async def _follow_licenses(
    session: AsyncSession,
    subjects: Sequence[str],
    known: dict[str, dict[str, Grant]],
    outcome: _Outcome,
    now: datetime,
) -> None:
    facts = await chain.standing_facts(session, subjects)
    folded = {subject: fold_license(map(license_fact, facts.get(subject, []))) for subject in subjects}
    plans = await chain.plans(session, {said.plan_key for said in folded.values() if said is not None})
    final = {mirror.chain_id: mirror.final_block for mirror in (await chain.mirrors(session)).values()}
    for subject, said in folded.items():
        grants = known.get(subject, {})
        if said is None:
            _follow_windows(subject, {}, grants, outcome, now)
            if grants:
                await rights.save_moves(session, subject, "", ())
            continue
        plan = plans.get(said.plan_key)
        if plan is None:
            log.warning("license.waits_for_plan", subject=subject, plan_key=said.plan_key)
            continue
        windows = {
            _grant_id(subject, window.ordinal): LicenseWindow(
                window,
                said.holder,
                said.moved,
                plan,
                final.get(plan.chain_id, -1),
                said.user,
                said.user_until,
                said.revoked,
            )
            for window in said.windows
        }
        _follow_windows(subject, windows, grants, outcome, now)
        if said.former_holders or grants:
            await rights.save_moves(session, subject, said.asset_id, said.former_holders)


def _grant_id(subject: str, window: int) -> str:
    return f"{subject.partition(':')[2]}:{window}"


def _follow_windows(
    subject: str,
    windows: dict[str, LicenseWindow],
    grants: dict[str, Grant],
    outcome: _Outcome,
    now: datetime,
) -> None:
    seconds = now.timestamp()
    for grant_id, grant in grants.items():
        change = follow_license(grant, windows.get(grant_id), seconds)
        if change is not None:
            outcome.changes.append(change)
    _, _, contract, token_id = subject.split(":")
    for grant_id, said in windows.items():
        if grant_id not in grants:
            outcome.opened.append((subject, open_license_grant(said, grant_id, contract, token_id, seconds)))


async def _follow_deposits(
    session: AsyncSession,
    subjects: Sequence[str],
    known: dict[str, dict[str, Grant]],
    retracted: Collection[str],
    outcome: _Outcome,
    now: datetime,
) -> None:
    written_off = await chain.written_off(session, subjects)
    direct = await chain.newest_facts(session, subjects)
    said_of = await chain.deposit_facts(session, subjects)
    series = await _series_of(session, said_of, known)
    for subject, (final, since) in said_of.items():
        grant = next(iter(known.get(subject, {}).values()), None)
        newest = since[-1] if since else final
        opened = grant is None
        if grant is None:
            if newest is None:
                continue  # retracted before it was ever applied
            grant = _opened_deposit(subject, newest)
        optimistic = await chain.optimistic_amount(session, grant.chain_id, grant.operator, grant.currency)
        # Only the deposit's own operator settles it; the escrow notes what anybody else asked for as unpaid, too.
        lost = written_off.get((subject, grant.operator), 0)
        totals = deposit_totals(_total(final), map(_total, since), written_off=lost)
        said = direct.get((subject, FactKind.DIRECT_DRAWS))
        only = said is not None and int(said.body["until"]) != 0
        change = follow_deposit(
            grant,
            totals,
            optimistic,
            mandates_only=only,
            series=series.get(series_subject(grant.chain_id, grant.currency)),
            now=now.timestamp(),
        )
        if opened:
            followed = change.grant if change else grant
            outcome.opened.append((subject, replace(followed, version=1)))
        elif change is not None:
            uncovered = revoke_uncovered(change) if subject in retracted else change
            outcome.changes.append(uncovered)
            if uncovered.revoked is not None:
                outcome.end_windows(known, grant.grant_id, uncovered.revoked)
        if final is not None:
            await chain.forget_superseded(session, [final])


async def _series_of(
    session: AsyncSession,
    said_of: Mapping[str, tuple[Fact | None, list[Fact]]],
    known: Mapping[str, Mapping[str, Grant]],
) -> dict[str, Series]:
    """The series that these deposits are of, by their subjects."""
    wanted = {
        series_subject(fact.chain_id, str(fact.body["token"]))
        for final, since in said_of.values()
        for fact in (final, *since)
        if fact is not None
    }
    held = (grant for subject in said_of for grant in known.get(subject, {}).values())
    wanted |= {series_subject(grant.chain_id, grant.currency) for grant in held}
    newest = await chain.newest_facts(session, wanted) if wanted else {}
    return {subject: series_of(fact) for (subject, _), fact in newest.items()}


def _total(fact: Fact | None) -> int:
    return int(fact.body["total"]) if fact else 0


def _opened_deposit(subject: str, fact: Fact) -> Grant:
    _, _, contract, deposit_id = subject.split(":")
    return open_deposit_grant(
        grant_id=_grant_id(subject, 0),
        chain_id=fact.chain_id,
        contract=contract,
        deposit_id=deposit_id,
        payer=str(fact.body["payer"]),
        operator=str(fact.body["operator"]),
        token=str(fact.body["token"]),
    )


async def _write(session: AsyncSession, outcome: _Outcome, at: Positions, now: datetime) -> None:
    for subject, grant in outcome.opened:
        await rights.insert_grants(session, subject, [grant], now)
    await rights.save_grants(session, [change.grant for change in outcome.changes], published_at=now)
    orphaned = [change.grant.grant_id for change in outcome.changes if change.orphaned]
    if orphaned:
        open_leases = await leases.lock_open_leases(session, orphaned)
        await leases.save_leases(session, map(orphan, open_leases))
    await rights.add_debts(session, [change.debt for change in outcome.changes if change.debt], now)
    opened = [GrantChange(grant) for _, grant in outcome.opened]
    await tell_changes(session, [*opened, *outcome.changes], at, now)
