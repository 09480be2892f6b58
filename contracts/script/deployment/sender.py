"""One account that sends many transactions at once and waits for all of them."""

from __future__ import annotations

from typing import Any, Final

from eth_account.signers.local import LocalAccount
from web3 import Web3

_RECEIPT_TIMEOUT_S: Final = 120
_POLL_S: Final = 0.05
_TIP_WEI: Final = 1_000_000_000


class TransactionFailed(Exception):
    """A transaction was included and reverted."""


class Sender:
    """Sends in nonce order and waits no sooner than a block is full; `flush` waits and checks.

    What does not fit into a block is not offered: a node may try a smaller transaction behind one that is too large for
    the rest of the block, and drop it for the gap in the nonces.
    """

    def __init__(self, w3: Web3, account: LocalAccount) -> None:
        self._w3 = w3
        self._account = account
        self._chain_id = w3.eth.chain_id
        self._nonce = int(w3.eth.get_transaction_count(account.address, "pending"))
        latest = w3.eth.get_block("latest")
        base_fee = latest.get("baseFeePerGas", 0)
        self._block_gas = int(latest["gasLimit"])
        self._gas_waiting = 0
        # Twice the base fee outlasts six full blocks.
        self._max_fee = 2 * base_fee + _TIP_WEI
        self._waiting: list[tuple[str, Any]] = []
        self._blocks: list[int] = []
        self.sent = 0

    @property
    def address(self) -> str:
        """Checksummed address of the account."""
        return str(self._account.address)

    def send(self, label: str, to: str, data: bytes | str, gas: int) -> None:
        """Signs and broadcasts; the label names the transaction in an error."""
        if self._gas_waiting + gas > self._block_gas:
            self._settle()
        self._gas_waiting += gas
        transaction: dict[str, Any] = {
            "to": to,
            "data": data,
            "gas": gas,
            "nonce": self._nonce,
            "chainId": self._chain_id,
            "maxFeePerGas": self._max_fee,
            "maxPriorityFeePerGas": _TIP_WEI,
            "value": 0,
        }
        signed = self._account.sign_transaction(transaction)
        self._waiting.append((label, self._w3.eth.send_raw_transaction(signed.raw_transaction)))
        self._nonce += 1
        self.sent += 1

    def flush(self) -> list[int]:
        """Waits for every transaction sent since the last flush; returns their blocks."""
        self._settle()
        blocks, self._blocks = self._blocks, []
        return blocks

    def _settle(self) -> None:
        for label, tx_hash in self._waiting:
            receipt = self._w3.eth.wait_for_transaction_receipt(tx_hash, _RECEIPT_TIMEOUT_S, _POLL_S)
            if receipt["status"] != 1:
                raise TransactionFailed(f"{label} reverted in {tx_hash.to_0x_hex()}")
            self._blocks.append(receipt["blockNumber"])
        self._waiting.clear()
        self._gas_waiting = 0
