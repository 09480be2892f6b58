"""The board: everything that the decisions of one batch look at, read in a few queries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing.db import accounts, chain, leases, mandates, rights
from licet_licensing.domain.codes import Code
from licet_licensing.domain.credentials import is_id
from licet_licensing.domain.facts import Asset, Plan
from licet_licensing.domain.grants import Grant, Source
from licet_licensing.domain.mandates import Mandate, Spending, open_window
from licet_licensing.domain.scene import Mirror, Policy, Scene

# A worker that has not asked for this long shares no quota and no rate any more: three times the longest lease.
WORKER_ACTIVE = timedelta(seconds=90)
# Workers are noted at most this often, so that a busy one does not write a row for every batch.
WORKER_NOTED = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Need:
    """Who asks for what: a credential's hash (None: malformed), and an asset by id or by name."""

    credential_hash: bytes | None
    asset_id: str
    slug: str


@dataclass(slots=True)
class Board:
    """What is known of the accounts, assets and rights of a batch. `grants` changes as the batch lends."""

    now: datetime
    owners: dict[bytes, str]
    wallets: dict[str, list[str]]
    assets_by_id: dict[str, Asset]
    assets_by_slug: dict[str, Asset]
    mirrors: dict[int, Mirror]
    grants: dict[str, Grant] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    gone: dict[tuple[str, str], set[Code]] = field(default_factory=dict)
    indebted: frozenset[str] = frozenset()
    workers: int = 1
    # Mandates of bound keys: by the key's hash, and with their windows by the mandate's key.
    bound: dict[bytes, str] = field(default_factory=dict)
    mandates: dict[str, Mandate] = field(default_factory=dict)
    calls_lent: dict[str, int] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)

    def account_of(self, need: Need) -> str | None:
        """The account behind a credential."""
        return self.owners.get(need.credential_hash) if need.credential_hash is not None else None

    def asset_of(self, need: Need) -> Asset | None:
        """The asset that was asked for."""
        if need.asset_id:
            return self.assets_by_id.get(need.asset_id)
        return self.assets_by_slug.get(need.slug)

    def scene(self, need: Need) -> Scene:
        """What the decision about one need may look at."""
        account_id, asset = self.account_of(need), self.asset_of(need)
        wallets = self.wallets.get(account_id, []) if account_id else []
        held = [grant for grant in self.grants.values() if grant.wallet in wallets]
        used = [grant for grant in self.grants.values() if grant.wallet in wallets or grant.user in wallets]
        asset_id = asset.asset_id if asset else ""
        return Scene(
            now=self.now.timestamp(),
            account_id=account_id,
            asset=asset,
            mirror=self.mirrors.get(asset.chain_id) if asset else None,
            licenses=tuple(g for g in used if g.source is Source.LICENSE and g.asset_id == asset_id),
            credits=tuple(g for g in held if g.source is Source.CREDITS and g.asset_id == asset_id),
            deposits=tuple(grant for grant in held if grant.source is Source.DEPOSIT),
            history=frozenset(code for w in wallets for code in self.gone.get((w, asset_id), ())),
            plans=self.plans,
            indebted=self.indebted,
            workers=self.workers,
            wallets=frozenset(wallets),
            spending=self.spending_of(need),
        )

    def spending_of(self, need: Need) -> Spending | None:
        """The mandate that a key spends by; None for a key of all rights."""
        key = self.bound.get(need.credential_hash) if need.credential_hash is not None else None
        if key is None:
            return None
        mandate, now = self.mandates[key], self.now.timestamp()
        deposit = self.grants.get(mandate.deposit_grant_id)
        if not mandate.runs(now):
            return Spending(mandate, None, deposit)
        name = mandate.grant_id(mandate.window_at(now))
        left = max(0, mandate.window_records - self.calls_lent.get(name, 0))
        return Spending(mandate, self.grants.get(name), deposit, left)

    def position(self, asset: Asset | None) -> tuple[int, int, str]:
        """Chain, block number and block hash at which a decision about the asset stands."""
        mirror = self.mirrors.get(asset.chain_id) if asset else None
        if mirror is None:
            return (asset.chain_id if asset else 0), 0, ""
        return mirror.chain_id, mirror.block_number, mirror.block_hash


async def read_board(session: AsyncSession, needs: Sequence[Need], now: datetime) -> Board:
    """The board before any right is looked at."""
    hashes = {need.credential_hash for need in needs if need.credential_hash is not None}
    owners = await accounts.accounts_of_credentials(session, hashes, now)
    asset_ids = {need.asset_id for need in needs if is_id(need.asset_id)}
    slugs = {need.slug for need in needs if not need.asset_id and is_id(need.slug)}
    found = await chain.assets(session, asset_ids, slugs)
    return Board(
        now=now,
        owners=owners,
        wallets=await accounts.wallets_of(session, set(owners.values())),
        assets_by_id={asset.asset_id: asset for asset in found},
        # Of two chains with one name, the lower chain id comes first in the list and last here.
        assets_by_slug={asset.slug: asset for asset in reversed(found)},
        mirrors=await chain.mirrors(session),
    )


async def read_rights(
    session: AsyncSession, board: Board, policy: Policy, *, lock: bool, also: Collection[str] = ()
) -> None:
    """Put the rights of the batch on the board: locked to lend from them, or as they are to explain.

    `also` names grants that are needed whoever holds them. Locks are taken in one query, sorted, and what they show
    is looked at again, because a right may have moved while we waited.
    """
    wallets = {wallet for owned in board.wallets.values() for wallet in owned}
    seconds = board.now.timestamp()
    found = await rights.read_rights(session, wallets, set(board.assets_by_id), policy.operator, seconds)
    if lock:
        found = await rights.lock_grants(session, {*found, *also, *_windows(board)})
    elif board.mandates:
        found |= await rights.grants(session, _windows(board))
    board.grants = found
    if board.mandates:
        await _read_windows(session, board)
    keys = {grant.plan_key for grant in found.values() if grant.plan_key}
    board.plans = await chain.plans(session, keys)
    board.indebted = await rights.indebted(session, {grant.payer for grant in found.values()})
    board.gone = await _history(session, board, wallets)


async def _history(
    session: AsyncSession, board: Board, wallets: Collection[str]
) -> dict[tuple[str, str], set[Code]]:
    """Only for wallets without a running license of one of the assets: the others are not refused for that."""
    now = board.now.timestamp()
    running = {(g.user_at(now), g.asset_id) for g in board.grants.values() if g.source is Source.LICENSE}
    lacking = {(w, a) for w in wallets for a in board.assets_by_id if (w, a) not in running}
    if not lacking:
        return {}
    return await rights.history(session, {w for w, _ in lacking}, {a for _, a in lacking}, now)


async def read_mandates(
    session: AsyncSession, board: Board, hashes: Collection[bytes], *, lock: bool
) -> None:
    """Put the mandates of bound keys on the board. Locked, none of them is revoked meanwhile."""
    board.bound = await mandates.of_credentials(session, hashes)
    if board.bound:
        board.mandates = await mandates.read(session, set(board.bound.values()), lock=lock)


async def _read_windows(session: AsyncSession, board: Board) -> None:
    """The running windows: those that were used, and those that would be opened now."""
    now = board.now.timestamp()
    for mandate in board.mandates.values():
        if not (mandate.stands and mandate.is_final and mandate.runs(now)):
            continue
        window = mandate.window_at(now)
        name = mandate.grant_id(window)
        others = await rights.windows_of(session, f"mandate:{mandate.key}")
        if any(other.window > window for other in others):
            # This request is older than the one that opened a later window, whose target stands on what was lent.
            board.grants.pop(name, None)
        elif name not in board.grants:
            board.grants[name] = open_window(mandate, window, others)
            board.opened.add(name)
    board.calls_lent = await mandates.calls_lent(session, board.grants.keys() & _windows(board))


def _windows(board: Board) -> set[str]:
    now = board.now.timestamp()
    return {m.grant_id(m.window_at(now)) for m in board.mandates.values() if m.runs(now)}


async def count_workers(session: AsyncSession, asking: Collection[str], now: datetime) -> int:
    """How many workers share the quotas now, those that ask included."""
    seen: Mapping[str, datetime] = await leases.active_workers(session, now - WORKER_ACTIVE)
    unnoted = [worker for worker in asking if worker not in seen or seen[worker] < now - WORKER_NOTED]
    await leases.see_workers(session, unnoted, now)
    return len({*seen, *asking})
