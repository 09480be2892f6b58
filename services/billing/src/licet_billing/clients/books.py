"""What the contracts say about money, at one block: the chain's side of a reconciliation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from licet_kit.chains import Chain
from web3 import AsyncHTTPProvider, AsyncWeb3

from licet_billing.clients.node import LOG_RANGE, answering, contract, hex32
from licet_billing.domain import money
from licet_billing.domain.reconciliation import DepositFigures

T = TypeVar("T")

# IRevenueRouter.Source.Royalty
_ROYALTY: Final = 2

# Views asked for at the same time.
_CONCURRENCY: Final = 16


class ChainBooks:
    """Reads UsageEscrow and RevenueRouter of one chain."""

    def __init__(self, chain: Chain, w3: AsyncWeb3[AsyncHTTPProvider]) -> None:
        self.chain = chain
        self.escrow_address = chain.contract("UsageEscrow")
        self.router_address = chain.contract("RevenueRouter")
        self._w3 = w3
        self._escrow: Any = contract(w3, "UsageEscrow", self.escrow_address)
        self._router: Any = contract(w3, "RevenueRouter", self.router_address)
        self._treasury = ""

    async def treasury(self) -> str:
        """The account that claims protocol fees; the contract never changes it."""
        if not self._treasury:
            async with answering():
                self._treasury = (await self._router.functions.treasury().call()).lower()
        return self._treasury

    async def deposits(self, ids: Collection[str], block: int) -> dict[str, DepositFigures]:
        """Spendable, drawn and waiting money of these deposits."""

        async def figures(id_: str) -> DepositFigures:
            functions = self._escrow.functions
            deposit = await functions.depositOf(id_).call(block_identifier=block)
            exits = await functions.openExitsOf(id_).call(block_identifier=block)
            waiting = [(await functions.exitOf(exit_).call(block_identifier=block))[1] for exit_ in exits]
            return DepositFigures(spendable=deposit[3], drawn=deposit[4], exits=sum(waiting))

        return await _each(ids, figures)

    async def batch_roots(self, operator: str, numbers: Collection[int], block: int) -> dict[str, str]:
        """Root of each batch (by its number as text); empty where it is not settled."""

        async def root(number: str) -> str:
            call = self._escrow.functions.batchRootOf(self._w3.to_checksum_address(operator), int(number))
            value = bytes(await call.call(block_identifier=block))
            return hex32(value) if any(value) else ""

        return await _each([str(number) for number in numbers], root)

    async def holds(self, holds: Collection[tuple[str, str]], block: int) -> dict[str, int]:
        """What is held under each (`operator/batch/asset`, token), by `operator/batch/asset:token`."""

        async def amount(subject: str) -> int:
            hold, token = subject.split(":")
            operator, batch, asset = hold.split("/")
            checksum = self._w3.to_checksum_address
            name = (checksum(operator), int(batch), asset, checksum(token))
            return int((await self._escrow.functions.holdOf(name).call(block_identifier=block))[0])

        return await _each([f"{hold}:{token}" for hold, token in holds], amount)

    async def revenue_pending(self, assets: Collection[tuple[str, str]], block: int) -> dict[str, int]:
        """Revenue of each (asset, token) that is not distributed, by `asset:token`."""

        async def pending(subject: str) -> int:
            asset, token = subject.split(":")
            call = self._router.functions.pendingOf(asset, self._w3.to_checksum_address(token))
            return int((await call.call(block_identifier=block))[0])

        return await _each([f"{asset}:{token}" for asset, token in assets], pending)

    async def claimable(self, accounts: Collection[tuple[str, str]], block: int) -> dict[str, int]:
        """Claimable money of each (account, token), by `account:token`."""

        async def amount(subject: str) -> int:
            account, token = (self._w3.to_checksum_address(part) for part in subject.split(":"))
            return int(await self._router.functions.claimableOf(account, token).call(block_identifier=block))

        return await _each([f"{account}:{token}" for account, token in accounts], amount)

    async def owed(self, tokens: Collection[str], block: int) -> dict[str, int]:
        """All that the router owes of each token."""
        return await self._by_token(self._router.functions.owedOf, tokens, block)

    async def held(self, tokens: Collection[str], block: int) -> dict[str, int]:
        """All that the escrow holds of each token for its payers."""
        return await self._by_token(self._escrow.functions.heldOf, tokens, block)

    async def accepted(self, operator: str, tokens: Collection[str], block: int) -> set[str]:
        """Those of these tokens that the operator draws, by its caps. Any other may be anybody's, and say anything."""

        async def cap(token: str) -> int:
            whose, what = (self._w3.to_checksum_address(address) for address in (operator, token))
            call = self._escrow.functions.settlerCapOf(whose, what)
            return int((await call.call(block_identifier=block))[0])

        return {token for token, amount in (await _each(tokens, cap)).items() if amount}

    async def balances(self, holder: str, tokens: Collection[str], block: int) -> dict[str, int]:
        """Balance of a contract in each token, as the token says."""

        async def balance(token: str) -> int:
            erc20: Any = contract(self._w3, "TestUSD", token)
            call = erc20.functions.balanceOf(self._w3.to_checksum_address(holder))
            return int(await call.call(block_identifier=block))

        return await _each(tokens, balance)

    async def _by_token(self, view: Any, tokens: Collection[str], block: int) -> dict[str, int]:
        async def amount(token: str) -> int:
            return int(await view(self._w3.to_checksum_address(token)).call(block_identifier=block))

        return await _each(tokens, amount)

    async def money_events(self, first: int, last: int) -> list[tuple[money.ChainPosition, money.MoneyEvent]]:
        """Every money event of these blocks, straight from the node's logs."""
        found = []
        for start in range(first, last + 1, LOG_RANGE):
            found += await self._money_events(start, min(last, start + LOG_RANGE - 1))
        return found

    async def _money_events(
        self, first: int, last: int
    ) -> list[tuple[money.ChainPosition, money.MoneyEvent]]:
        async with answering():
            logs: Any = await self._w3.eth.get_logs(
                {
                    "fromBlock": first,
                    "toBlock": last,
                    "address": [self._escrow.address, self._router.address],
                }
            )
        decoders = self._decoders()
        found = []
        for log in logs:
            decoder = decoders.get(hex32(log["topics"][0]))
            if decoder is not None:
                event, read = decoder
                found += self._read(log, event, read)
        return found

    def _read(
        self, log: Any, event: Any, read: Callable[[Any], money.MoneyEvent | list[money.LineSettled]]
    ) -> list[tuple[money.ChainPosition, money.MoneyEvent]]:
        position, said = self._position(log), read(event.process_log(log)["args"])
        if isinstance(said, list):
            return [(replace(position, line=line.index), line) for line in said]
        return [(position, said)]

    def _position(self, log: Any) -> money.ChainPosition:
        return money.ChainPosition(
            chain_id=self.chain.chain_id,
            block_number=log["blockNumber"],
            block_hash=hex32(log["blockHash"]),
            log_index=log["logIndex"],
            incarnation=1,
            tx_hash=hex32(log["transactionHash"]),
            contract=log["address"].lower(),
        )

    def _decoders(self) -> dict[str, tuple[Any, Callable[[Any], money.MoneyEvent | list[money.LineSettled]]]]:
        escrow, router = self._escrow.events, self._router.events
        pairs: list[tuple[Any, Callable[[Any], money.MoneyEvent | list[money.LineSettled]]]] = [
            (escrow.Deposited(), lambda a: money.Deposited(*_deposit(a))),
            (escrow.ExitRequested(), lambda a: money.ExitRequested(*_deposit(a))),
            (escrow.ExitDrawn(), lambda a: money.ExitDrawn(*_deposit(a))),
            (escrow.Withdrawn(), lambda a: money.Withdrawn(*_deposit(a))),
            (escrow.GroupSettled(), _lines_settled),
            (escrow.HoldReleased(), lambda a: money.HoldReleased(*_hold(a), a["amount"])),
            (escrow.DrawRefunded(), lambda a: money.DrawRefunded(*_hold(a), a["index"], a["amount"])),
            (router.RevenueReceived(), _revenue_received),
            (router.Distributed(), _distributed),
            (
                router.Claimed(),
                lambda a: money.Claimed(a["account"].lower(), a["token"].lower(), a["amount"]),
            ),
        ]
        return {str(event.topic): (event, read) for event, read in pairs}


def _deposit(args: Mapping[str, Any]) -> tuple[str, str, str, int]:
    return hex32(args["depositId"]), args["operator"].lower(), args["token"].lower(), args["amount"]


def _hold(args: Mapping[str, Any]) -> tuple[str, str, int, str]:
    return args["operator"].lower(), args["token"].lower(), args["batch"], hex32(args["assetId"])


def _lines_settled(args: Mapping[str, Any]) -> list[money.LineSettled]:
    operator, token, batch, asset_id = _hold(args)
    return [
        money.LineSettled(
            deposit_id=hex32(line["depositId"]),
            operator=operator,
            token=token,
            batch=batch,
            index=index,
            asset_id=asset_id,
            authority=hex32(line["authority"]),
            window=line["window"],
            due=line["due"],
            paid=line["paid"],
            records=line["records"],
        )
        for index, line in enumerate(args["lines"], args["first"])
    ]


def _revenue_received(args: Mapping[str, Any]) -> money.RevenueReceived:
    child = hex32(args["ref"]) if args["source"] == _ROYALTY else ""
    return money.RevenueReceived(hex32(args["assetId"]), args["token"].lower(), args["amount"], child)


def _distributed(args: Mapping[str, Any]) -> money.Distributed:
    return money.Distributed(
        asset_id=hex32(args["assetId"]),
        token=args["token"].lower(),
        amount=args["amount"],
        fee=args["fee"],
        payee=args["payee"].lower(),
        payee_amount=args["payeeAmount"],
    )


async def _each(subjects: Collection[str], read: Callable[[str], Awaitable[T]]) -> dict[str, T]:
    """Reads one view for each subject, some at a time."""
    limit = asyncio.Semaphore(_CONCURRENCY)

    async def one(subject: str) -> T:
        async with limit, answering():
            return await read(subject)

    ordered = sorted(set(subjects))
    return dict(zip(ordered, await asyncio.gather(*(one(subject) for subject in ordered)), strict=True))
