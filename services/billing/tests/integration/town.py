"""A real chain with a payer, an operator and an asset, and the events that the chain-indexer would tell of it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from eth_account import Account
from google.protobuf.message import Message as ProtobufMessage
from licet_billing.clients.books import ChainBooks
from licet_billing.clients.escrow import EscrowClient
from licet_billing.clients.node import Node, make_web3
from licet_billing.clients.signer import LocalSigner
from licet_billing.domain.settlement import Timing
from licet_billing.testing.builders import RECEIPT_KEY, Gateway, event_id
from licet_billing.testing.inbox import Inbox, make_inbox
from licet_billing.workers.poster import Poster
from licet_billing.workers.reconciler import Reconciler
from licet_billing.workers.settler import Pace, Settler
from licet_kit.chains import Chain, load_chains
from licet_kit.clock import Clock, SystemClock
from licet_kit.testing.deployment import DeployedChain
from licet_schemas import eip712
from licet_schemas.abi import load_abi
from licet_schemas.licet.chain.v1 import chain_pb2
from licet_schemas.words import address_word, keccak
from sqlalchemy.ext.asyncio import AsyncEngine
from web3 import Web3
from web3.types import RPCEndpoint

CAP = 10**12
FEE_PER_GAS = 10**11
_LEASES = itertools.count(1)
FUNDS = 10**9
_SOURCES = {0: "sale", 1: "usage", 2: "royalty"}
# Solidity names that the messages spell otherwise.
_RENAMED = {"spendable": "balance", "ref": "reference"}


@dataclass
class Town:
    """Accounts: 0 deployed, 1 is the operator, 2 owns the asset, 3 pays."""

    deployed: DeployedChain
    chain: Chain
    w3: Web3
    contracts: dict[str, Any]
    # (contract, topic) to the event, of those that the indexer tells.
    topics: dict[tuple[str, str], Any]
    asset_id: str = ""

    @property
    def operator(self) -> str:
        return self.deployed.operator.address

    @property
    def payer(self) -> str:
        return self.deployed.account(3).address

    @property
    def owner(self) -> str:
        return self.deployed.account(2).address

    @property
    def token(self) -> str:
        return self.chain.contract("TestUSD")

    @property
    def deposit_id(self) -> str:
        words = address_word(self.payer) + address_word(self.operator) + address_word(self.token)
        return "0x" + keccak(words).hex()

    def send(self, account: int, contract: str, function: str, *arguments: Any) -> Any:
        """Sends a transaction of a development account and returns its receipt."""
        key = self.deployed.account(account)
        call = getattr(self.contracts[contract].functions, function)(*arguments)
        made = call.build_transaction(
            {
                "from": Web3.to_checksum_address(key.address),
                "nonce": self.nonce(key.address),
                # More than the estimate: what a delayed number costs depends on the second in which it is set.
                "gas": 2_000_000,
                # Named, so that nothing has to be asked for.
                "chainId": self.chain.chain_id,
                "maxFeePerGas": FEE_PER_GAS,
                "maxPriorityFeePerGas": 1,
            }
        )
        sent = self.w3.eth.send_raw_transaction(
            Account.from_key(key.key).sign_transaction(made).raw_transaction
        )
        receipt = self.w3.eth.wait_for_transaction_receipt(sent, timeout=10, poll_latency=0.02)
        assert receipt["status"] == 1
        return receipt

    def nonce(self, address: str) -> int:
        return self.w3.eth.get_transaction_count(Web3.to_checksum_address(address))

    def call(self, contract: str, function: str, *arguments: Any) -> Any:
        return getattr(self.contracts[contract].functions, function)(*arguments).call()

    def checksum(self, address: str) -> Any:
        return Web3.to_checksum_address(address)

    def deposit(self, amount: int) -> None:
        self.send(3, "TestUSD", "approve", self.checksum(self.chain.contract("UsageEscrow")), amount)
        self.send(
            3, "UsageEscrow", "deposit", self.checksum(self.operator), self.checksum(self.token), amount
        )

    def release(self, batch: int, operator: str = "", asset_id: str = "") -> None:
        """Waits for the dispute time of a batch, and brings what it drew for an asset to the router."""
        self.w3.provider.make_request(
            RPCEndpoint("evm_increaseTime"), [self.call("UsageEscrow", "disputeTime") + 1]
        )
        of = self.checksum(operator or self.operator)
        name = (of, batch, asset_id or self.asset_id, self.checksum(self.token))
        self.send(4, "UsageEscrow", "release", name)

    def last_batch(self) -> int:
        return int(self.call("UsageEscrow", "lastBatchOf", self.checksum(self.operator)))

    def gateway(self) -> Gateway:
        """A replica that serves this operator's plan 1 to the payer."""
        return Gateway(
            chain_id=self.chain.chain_id,
            escrow=self.chain.contract("UsageEscrow"),
            plan_book=self.chain.contract("PlanBook"),
            operator=self.operator,
            asset_id=self.asset_id,
            deposit_id=self.deposit_id,
            payer=self.payer,
            token=self.token,
            now_s=int(self.w3.eth.get_block("latest")["timestamp"]),
        )


def settle_in(deployed: DeployedChain) -> Town:
    """Registers operator and asset, creates plan 1 at 7 a unit, and gives the payer money."""
    chain = load_chains(deployed.chains_file)[0]
    w3 = Web3(Web3.HTTPProvider(deployed.anvil.rpc_url))
    names = ("AssetRegistry", "PlanBook", "UsageEscrow", "RevenueRouter", "TestUSD")
    contracts: dict[str, Any] = {
        name: w3.eth.contract(address=Web3.to_checksum_address(chain.contract(name)), abi=load_abi(name))
        for name in names
    }
    topics = {
        (chain.contract(name), event().topic.removeprefix("0x")): event()
        for name in ("UsageEscrow", "RevenueRouter", "PlanBook")
        for event in list(contracts[name].events)
        if _snake(event.event_name) in _PAYLOADS
    }
    town = Town(deployed, chain, w3, contracts, topics)
    now = int(w3.eth.get_block("latest")["timestamp"])
    receipt_key = town.checksum(eip712.address_of(RECEIPT_KEY))
    town.send(1, "UsageEscrow", "registerOperator", receipt_key, now, now + 10**8)
    town.send(1, "UsageEscrow", "setSettlerCap", town.checksum(town.token), CAP)
    town.send(2, "AssetRegistry", "register", "owner/model", 1, town.checksum(town.owner))
    token_id = int.from_bytes(keccak(b"owner/model"), "big")
    town.asset_id = "0x" + bytes(town.call("AssetRegistry", "assetIdOf", token_id)).hex()
    terms = (
        *(bytes.fromhex(town.asset_id[2:]), town.checksum(town.token), 0, 0, 5_000_000, 3600, 10, 7, 0, 0),
        *("request", 10, True, True, 0, 0, town.checksum(town.operator), 0, 0, bytes([1]) * 32, bytes(32)),
    )
    town.send(2, "PlanBook", "createPlan", terms)
    town.send(3, "TestUSD", "mint", town.checksum(town.payer), FUNDS)
    return town


class Sink(Protocol):
    """Takes the news: billing's consumers, or a real topic."""

    async def send(self, *messages: ProtobufMessage) -> None: ...


@dataclass
class Feed:
    """Tells the chain's events as the indexer does: observed, retracted on a reorg, final."""

    town: Town
    told: list[chain_pb2.ChainEvent] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    next_block: int = 0

    def __post_init__(self) -> None:
        self.next_block = self.town.chain.start_block

    async def sync(self, inbox: Sink, *, final: bool = True) -> None:
        """Tells what is new since the last time."""
        for event in self._news():
            await inbox.send(event)
        if final:
            block: Any = self.town.w3.eth.get_block("finalized")
            await inbox.send(
                chain_pb2.BlockFinality(
                    event_id=f"{block['hash'].hex()}:final",
                    chain_id=self.town.chain.chain_id,
                    block_number=block["number"],
                    block_hash="0x" + block["hash"].hex(),
                    block_time=block["timestamp"],
                )
            )

    def _news(self) -> list[chain_pb2.ChainEvent]:
        news = []
        while self.told and not self._is_canonical(self.told[-1]):
            gone = self.told.pop()
            self.next_block = min(self.next_block, gone.block_number)
            gone.kind = chain_pb2.EVENT_KIND_RETRACTED
            gone.event_id = event_id(gone)
            news.append(gone)
        head = self.town.w3.eth.block_number
        self.next_block = min(self.next_block, head + 1)
        fresh = [event for event in self._events(self.next_block, head) if not self._is_told(event)]
        for event in fresh:
            event.incarnation = self.seen[event.block_hash] = self.seen.get(event.block_hash, 0) + 1
            event.event_id = event_id(event)
        self.told += fresh
        self.next_block = head + 1
        return news + fresh

    def _is_told(self, event: chain_pb2.ChainEvent) -> bool:
        return any((e.block_hash, e.log_index) == (event.block_hash, event.log_index) for e in self.told)

    def _is_canonical(self, event: chain_pb2.ChainEvent) -> bool:
        if event.block_number > self.town.w3.eth.block_number:
            return False
        block: Any = self.town.w3.eth.get_block(event.block_number)
        return bool("0x" + block["hash"].hex() == event.block_hash)

    def _events(self, first: int, last: int) -> list[chain_pb2.ChainEvent]:
        """The indexer's events of these blocks; none if there are no such blocks."""
        if first > last:
            return []
        eth = self.town.w3.eth
        logs = eth.get_logs({"fromBlock": first, "toBlock": last})
        blocks: dict[Any, Any] = {h: eth.get_block(h) for h in {log["blockHash"] for log in logs}}
        made = (self._event(log, blocks[log["blockHash"]]) for log in logs)
        return [event for event in made if event is not None]

    def _event(self, log: Any, block: Any) -> chain_pb2.ChainEvent | None:
        event = self.town.topics.get((log["address"].lower(), log["topics"][0].hex()))
        return self._message(event.process_log(log), block) if event is not None else None

    def _message(self, decoded: Any, block: Any) -> chain_pb2.ChainEvent:
        made = chain_pb2.ChainEvent(
            chain_id=self.town.chain.chain_id,
            block_number=decoded["blockNumber"],
            block_hash="0x" + decoded["blockHash"].hex(),
            block_time=block["timestamp"],
            tx_hash="0x" + decoded["transactionHash"].hex(),
            log_index=decoded["logIndex"],
            contract=decoded["address"].lower(),
            kind=chain_pb2.EVENT_KIND_OBSERVED,
        )
        _fill(getattr(made, _snake(decoded["event"])), decoded["args"])
        return made


_PAYLOADS = {f.name for f in chain_pb2.ChainEvent.DESCRIPTOR.oneofs_by_name["payload"].fields}


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _fill(payload: Any, values: Any) -> None:
    """Copies what the message has a field for, in the message's own form."""
    payload.SetInParent()
    for name, value in dict(values).items():
        field_name = _RENAMED.get(name, _snake(name))
        field_name = "period_s" if name == "period" else field_name
        known = payload.DESCRIPTOR.fields_by_name.get(field_name)
        if known is None:
            continue
        if known.is_repeated:
            for part in value:
                _fill(getattr(payload, field_name).add(), part)
        elif known.message_type is not None:
            _fill(getattr(payload, field_name), value)
        elif known.type == known.TYPE_STRING:
            setattr(payload, field_name, _text(field_name, value))
        else:
            setattr(payload, field_name, value)


def _text(field_name: str, value: Any) -> str:
    if field_name == "source" and isinstance(value, int):
        return _SOURCES[value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return value.lower() if isinstance(value, str) and value.startswith("0x") else str(value)


@dataclass
class House:
    """One replica of billing on this town: its workers, driven by the test."""

    engine: AsyncEngine
    town: Town
    inbox: Inbox
    feed: Feed
    poster: Poster
    settler: Settler
    reconciler: Reconciler
    books: ChainBooks
    w3s: Sequence[Any]

    async def tell(self) -> None:
        """The indexer's news, and everything final posted."""
        await self.feed.sync(self.inbox)
        while await self.poster.post():
            pass
        await self.poster.cover()

    async def finalise(self) -> None:
        """Two more blocks make the newest one final."""
        await self.town.deployed.anvil.mine(2)
        await self.tell()

    async def close(self) -> None:
        for w3 in self.w3s:
            await w3.provider.disconnect()


def open_house(
    engine: AsyncEngine,
    town: Town,
    *,
    rpc_url: str = "",
    clock: Clock | None = None,
    feed: Feed | None = None,
    rpc_timeout_s: float = 5.0,
) -> House:
    """A replica; `rpc_url` is what its sender sees of the chain."""
    direct = make_web3(town.chain, rpc_timeout_s)
    through = make_web3(
        town.chain.model_copy(update={"rpc_url": rpc_url or town.chain.rpc_url}), rpc_timeout_s
    )
    clock = clock or SystemClock()
    signer = LocalSigner(town.deployed.operator.key)
    books = ChainBooks(town.chain, direct)
    node = Node(town.chain, direct)
    pace = Pace(
        interval_s=0.0, poll_s=0.05, batch_charges=1000, timing=Timing(resend_after_s=5, bump_after_s=30)
    )
    return House(
        engine=engine,
        town=town,
        inbox=make_inbox(engine, town.chain.chain_id, town.chain.contract("UsageEscrow"), signer.address),
        feed=feed or Feed(town),
        poster=Poster(engine=engine, node=node, chain=books, operator=signer.address, poll_s=0.05),
        settler=Settler(
            engine=engine,
            node=Node(town.chain, through),
            escrow=EscrowClient(town.chain, through, signer),
            clock=clock,
            pace=pace,
        ),
        reconciler=Reconciler(
            engine=engine, node=node, chain=books, operator=signer.address, clock=clock, interval_s=3600
        ),
        books=books,
        w3s=(direct, through),
    )


async def use(house: House, *units: int) -> list[str]:
    """Calls of one lease on the deposit, recorded; returns their request ids."""
    gateway = house.town.gateway()
    await house.inbox.send(gateway.deposit_changed(FUNDS))
    calls = gateway.calls(*units, lease=f"{next(_LEASES):032x}")
    await house.inbox.send(*calls)
    return [call.request_id for call in calls]
