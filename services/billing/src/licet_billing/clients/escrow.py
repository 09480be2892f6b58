"""UsageEscrow as the operator uses it: look at batches, sign and send settlements."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

import aiohttp
from licet_kit.chains import Chain
from licet_kit.errors import PermanentError
from licet_schemas.settlement import Group, Item
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import ContractCustomError, ContractLogicError, TransactionNotFound, Web3RPCError
from web3.logs import DISCARD

from licet_billing.clients.node import LOG_RANGE, NodeUnavailable, answering, contract, hex32
from licet_billing.clients.signer import SignedTransaction, Signer
from licet_billing.domain.challenges import Shown
from licet_billing.domain.settlement import Answer, Batch, Cap, Fees, Inclusion, Reply, Sighting

# The estimate holds for the state it was made on; other settlements and exits may come first.
_GAS_MARGIN_NUMERATOR: Final = 12
_GAS_MARGIN_DENOMINATOR: Final = 10
# EIP-7825. No node takes a transaction with more.
_TX_GAS_LIMIT: Final = 2**24
# How nodes say that an estimate has found no end below their limit; compared as the others.
_TOO_MUCH_GAS: Final = ("gasrequiredexceeds", "outofgas", *("gaslimittoohigh", "exceedsblockgaslimit"))
# Covers six full blocks in a row before the base fee outgrows it (EIP-1559: an eighth a block).
_BASE_FEE_FACTOR: Final = 2
# Compared without case, blanks and underscores, which clients write differently.
_ALREADY_KNOWN: Final = ("alreadyknown", "alreadyimported", "knowntransaction", "alreadyinmempool")
# Errors that a node gives for a transaction that it has not put into its pool.
_NOT_TAKEN: Final = (
    *("insufficientfunds", "insufficientbalance", "exceedsaccountbalance"),
    *("noncetoolow", "noncetoohigh", "oldnonce", "noncegap", "noncebelow"),
    *("underpriced", "feetoolow", "tiptoolow", "lessthanblockbasefee", "belowconfiguredminimum"),
    *("higherthanmaxfeepergas", "exceedstheconfiguredcap", "intrinsicgas"),
    *("exceedsblockgaslimit", "gaslimitexceeded", "gaslimittoohigh", "poolisfull"),
)


class SettlementRefused(PermanentError):
    """The contract would revert; the settlement is not sent."""

    code = "settlement_refused"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SettlementTooLarge(PermanentError):
    """The settlement costs more gas than a transaction may have; it is not sent."""

    code = "settlement_too_large"


@dataclass(frozen=True, slots=True)
class Settlement:
    """The arguments of `settle`."""

    number: int
    root: bytes
    data_uri: str
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """The chain at one block: what follows from it fits together."""

    block_number: int
    final_block: int
    next_nonce: int
    last_batch: int


class EscrowClient:
    """Settles for the signer's account on one chain."""

    def __init__(self, chain: Chain, w3: AsyncWeb3[AsyncHTTPProvider], signer: Signer) -> None:
        self.chain = chain
        self.address = chain.contract("UsageEscrow")
        self._signer = signer
        self._w3 = w3
        self._escrow: Any = contract(w3, "UsageEscrow", self.address)
        self._errors = {
            _selector(w3, entry): entry["name"] for entry in self._escrow.abi if entry["type"] == "error"
        }

    @property
    def operator(self) -> str:
        """Lowercase address of the operator."""
        return self._signer.address

    @property
    def _operator(self) -> Any:
        return self._w3.to_checksum_address(self._signer.address)

    async def look(self, final_block: int) -> Look:
        """Head, nonce and newest batch of the operator, all of one block."""
        async with answering():
            head = int(await self._w3.eth.block_number)
            nonce = await self._w3.eth.get_transaction_count(self._operator, head)
            last = await self._escrow.functions.lastBatchOf(self._operator).call(block_identifier=head)
        return Look(head, min(final_block, head), int(nonce), int(last))

    async def sighting(self, batch: Batch, look: Look, now: float) -> Sighting:
        """What the chain says of a batch at the block of this look."""
        inclusions = {}
        for attempt in batch.attempts:
            inclusion = await self._inclusion(attempt.tx_hash, batch.key.number)
            if inclusion is not None and inclusion.block_number <= look.block_number:
                inclusions[attempt.tx_hash] = inclusion
        async with answering():
            call = self._escrow.functions.batchRootOf(self._operator, batch.key.number)
            root = bytes(await call.call(block_identifier=look.block_number))
        return Sighting(inclusions, hex32(root) if any(root) else "", look.final_block, look.next_nonce, now)

    async def _inclusion(self, tx_hash: str, number: int) -> Inclusion | None:
        async with answering():
            try:
                receipt: Any = await self._w3.eth.get_transaction_receipt(tx_hash)  # type: ignore[arg-type]
            except TransactionNotFound:
                return None
        events = self._escrow.events.BatchSettled().process_receipt(receipt, errors=DISCARD)
        settled = any(
            event["address"].lower() == self.address
            and event["args"]["operator"].lower() == self.operator
            and event["args"]["batch"] == number
            for event in events
        )
        return Inclusion(
            int(receipt["blockNumber"]), hex32(receipt["blockHash"]), receipt["status"] == 1, settled
        )

    async def find_settled(self, number: int, first: int, last: int) -> dict[str, Inclusion]:
        """The transaction that settled this batch in these blocks, by the log of it. Searches the newest first."""
        for end in range(last, first - 1, -LOG_RANGE):
            async with answering():
                logs: Any = await self._escrow.events.BatchSettled().get_logs(
                    from_block=max(first, end - LOG_RANGE + 1),
                    to_block=end,
                    argument_filters={"operator": self._operator, "batch": number},
                )
            if logs:
                log = logs[-1]
                inclusion = Inclusion(log["blockNumber"], hex32(log["blockHash"]), ok=True, settled=True)
                return {hex32(log["transactionHash"]): inclusion}
        return {}

    async def caps(self, tokens: Collection[str]) -> dict[str, Cap]:
        """What the operator may draw of each token."""
        left = {}
        for token in tokens:
            async with answering():
                call = self._escrow.functions.settlerCapOf(
                    self._operator, self._w3.to_checksum_address(token)
                )
                cap, drawn = await call.call()
            left[token] = Cap(int(cap), max(0, int(cap) - int(drawn)))
        return left

    async def market_fees(self) -> Fees:
        """Fees that get a transaction into one of the next blocks."""
        async with answering():
            block = await self._w3.eth.get_block("latest")
            priority = int(await self._w3.eth.max_priority_fee)
        return Fees(int(block["baseFeePerGas"]) * _BASE_FEE_FACTOR + priority, priority)

    async def sign(self, settlement: Settlement, nonce: int, fees: Fees) -> SignedTransaction:
        """Signs a settlement. Raises SettlementRefused, with the contract's reason, where it would revert, and
        SettlementTooLarge where it costs more than a transaction may."""
        return await self._signed(self._call(settlement), nonce, fees)

    async def sign_answer(self, shown: Shown, nonce: int, fees: Fees) -> SignedTransaction:
        """Signs the answer to a challenge. Raises SettlementRefused, with the contract's reason, where it would
        revert."""
        return await self._signed(self._answer(shown), nonce, fees)

    async def _signed(self, call: Any, nonce: int, fees: Fees) -> SignedTransaction:
        gas = await self._estimate(call)
        transaction = {
            "type": 2,
            "chainId": self.chain.chain_id,
            "nonce": nonce,
            "to": self._escrow.address,
            "value": 0,
            "gas": min(gas * _GAS_MARGIN_NUMERATOR // _GAS_MARGIN_DENOMINATOR, _TX_GAS_LIMIT),
            "maxFeePerGas": fees.max_fee,
            "maxPriorityFeePerGas": fees.priority_fee,
            "data": call._encode_transaction_data(),
        }
        return await self._signer.sign(transaction)

    def _answer(self, shown: Shown) -> Any:
        checksum = self._w3.to_checksum_address
        line, item, charge, segment = shown.line, shown.line.item, shown.charge, shown.segment
        settled = (
            checksum(shown.batch.operator),
            shown.batch.number,
            (line.index, line.asset_id, checksum(line.token), *self._item(item)),
            list(shown.line_proof),
        )
        leaf = (
            charge.receipt_hash,
            charge.amount,
            checksum(charge.currency),
            checksum(charge.payer),
            charge.salt,
        )
        steps = [(step.hash, step.sum, step.left) for step in shown.steps]
        certificate = (
            checksum(segment.operator),
            checksum(segment.replica),
            segment.valid_from,
            segment.valid_until,
        )
        signed = (
            astuple(shown.receipt),
            list(segment.path),
            (segment.root, segment.receipts),
            segment.signature,
            certificate,
            segment.certificate_signature,
        )
        return self._escrow.functions.answer(settled, (leaf, steps), signed)

    async def _estimate(self, call: Any) -> int:
        async with answering():
            try:
                gas = int(await call.estimate_gas({"from": self._operator}))
            except (ContractLogicError, ContractCustomError) as error:
                raise SettlementRefused(self._reason(error)) from error
            except Web3RPCError as error:
                if not any(reason in _plain(str(error)) for reason in _TOO_MUCH_GAS):
                    raise
                raise SettlementTooLarge(str(error)[:300]) from error
        if gas > _TX_GAS_LIMIT:
            raise SettlementTooLarge(f"{gas} gas, {_TX_GAS_LIMIT} are allowed")
        return gas

    def _call(self, settlement: Settlement) -> Any:
        groups = [
            (group.asset_id, self._w3.to_checksum_address(group.token), [self._item(i) for i in group.items])
            for group in settlement.groups
        ]
        return self._escrow.functions.settle(settlement.number, settlement.root, settlement.data_uri, groups)

    def _item(self, item: Item) -> tuple[Any, ...]:
        payer = self._w3.to_checksum_address(item.payer)
        return payer, item.authority, item.window, item.amount, item.payer_root, item.records

    def _reason(self, error: ContractLogicError) -> str:
        data = str(getattr(error, "data", "") or error)
        return self._errors.get(data[:10], str(error))[:300]

    async def send(self, raw: bytes) -> Reply:
        """Hands a signed transaction to the node. What it has already it has taken."""
        try:
            await self._w3.eth.send_raw_transaction(raw)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Reply(Answer.UNKNOWN, f"{type(error).__name__}: {error}"[:300])
        except Web3RPCError as error:
            return reply_of(str(error))
        return Reply(Answer.SENT)


def reply_of(message: str) -> Reply:
    """What a node's error to a broadcast proves."""
    said = _plain(message)
    if any(known in said for known in _ALREADY_KNOWN):
        return Reply(Answer.SENT)
    refused = any(reason in said for reason in _NOT_TAKEN)
    return Reply(Answer.REFUSED if refused else Answer.UNKNOWN, message[:300])


def _plain(message: str) -> str:
    return "".join(message.lower().replace("_", " ").split())


def _selector(w3: AsyncWeb3[AsyncHTTPProvider], entry: Any) -> str:
    signature = f"{entry['name']}({','.join(argument['type'] for argument in entry['inputs'])})"
    return "0x" + bytes(w3.keccak(text=signature))[:4].hex()


__all__: Sequence[str] = [
    "EscrowClient",
    "Look",
    "NodeUnavailable",
    "Settlement",
    "SettlementRefused",
    "SettlementTooLarge",
]
