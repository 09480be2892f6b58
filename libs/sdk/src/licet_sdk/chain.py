"""What a wallet does on chain: publish, price, buy, deposit, transfer, distribute and claim.

Every method waits until its transaction is included and returns figures read from the chain's logs.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from licet_schemas.abi import load_abi
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.exceptions import ContractCustomError, ContractLogicError, TimeExhausted, Web3Exception
from web3.logs import DISCARD
from web3.types import TxParams

from licet_sdk import reverts
from licet_sdk.config import Config
from licet_sdk.errors import ChainError, ConfigError, Unreachable
from licet_sdk.wallet import account_of

RECEIPT_TIMEOUT_S = 60.0
RECEIPT_POLL_S = 0.1
RPC_TIMEOUT_S = 20.0
# Percent of the estimate.
GAS_MARGIN = 120
# Where PlanTerms has its price.
TERM_PRICE = 4
NO_GROUNDS = "0x" + "00" * 32


@dataclass(frozen=True, slots=True)
class PlanOffer:
    """Sale terms of a plan; amounts in the currency's smallest unit, `period_s` in seconds.

    `metering_rule` is `request`, `rows:<input name>`, `bytes`, `seconds`, `input_tokens` or `output_tokens`, and must
    equal the manifest's; `commercial` says whether calls and answers may be used commercially. Without
    `breach_notice_s` (7 to 90 days) and a digest of the `breach_grounds` its licenses are never revoked. Limits, 0
    for none: `supply` licenses ever sold, `per_recipient` ever received by one account, `seats` calls of one license
    at once. `trial_period_s` and `trial_units` are a free first term, once for each account.
    """

    price: int
    period_s: int
    included_units: int
    unit_price: int
    metering_rule: str
    requests_per_s: int = 1000
    transferable: bool = True
    commercial: bool = True
    optimistic_units: int = 0
    optimistic_amount: int = 0
    server: str = ""
    terms_digest: str = ""
    breach_notice_s: int = 0
    breach_grounds: str = NO_GROUNDS
    supply: int = 0
    per_recipient: int = 0
    trial_period_s: int = 0
    trial_units: int = 0
    seats: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """An included transaction."""

    tx_hash: str
    block_number: int
    gas_used: int
    events: dict[str, dict[str, Any]]


class Chain:
    """One chain of the installation, and the caller's wallet on it."""

    def __init__(self, config: Config, chain_id: int | None = None) -> None:
        self._config = config
        entry = _entry(config.require("chains_file"), chain_id)
        self.chain_id = int(entry["chain_id"])
        self.rpc_url = str(entry["rpc_url"])
        self.addresses: dict[str, str] = entry["contracts"]
        # Earlier generations of a contract, oldest first.
        self.former: dict[str, list[str]] = entry.get("former", {})
        self._session = requests.Session()
        provider = HTTPProvider(
            self.rpc_url, request_kwargs={"timeout": RPC_TIMEOUT_S}, session=self._session
        )
        self.w3 = Web3(provider)

    def close(self) -> None:
        """Closes pooled connections."""
        self._session.close()

    @property
    def wallet(self) -> str:
        """Checksummed address of the configured private key."""
        return str(account_of(self._config).address)

    def contract(self, name: str) -> Contract:
        """A deployed contract by its name in the chains file."""
        return self.w3.eth.contract(
            address=Web3.to_checksum_address(self.addresses[name]), abi=load_abi(name)
        )

    def naming(self, contracts: Mapping[str, str]) -> Chain:
        """The same wallet on the same connection, with contracts that have no entry in the chains file: clones."""
        other = copy.copy(self)
        other.addresses = {**self.addresses, **contracts}
        return other

    def call(self, contract: str, function: str, *args: Any) -> Any:
        """A view call at the latest block."""
        try:
            return self.contract(contract).functions[function](*args).call()
        except (OSError, Web3Exception) as error:
            raise as_licet_error(error, self.rpc_url) from error

    def send(self, contract: str, function: str, *args: Any) -> Sent:
        """Signs, sends and waits for one transaction; raises ChainError with the contract's own reason."""
        target = self.contract(contract)
        account = account_of(self._config)
        try:
            fields: TxParams = {
                "from": account.address,
                "nonce": self.w3.eth.get_transaction_count(account.address, "pending"),
                "chainId": self.chain_id,
            }
            call = target.functions[function](*args)
            # What the next block's time changes may cost more than it did in the newest block.
            fields["gas"] = call.estimate_gas({"from": account.address}) * GAS_MARGIN // 100
            signed = account.sign_transaction(call.build_transaction(fields))
            tx_hash = self.w3.eth.send_raw_transaction(signed.raw_transaction)
            receipt = self.w3.eth.wait_for_transaction_receipt(tx_hash, RECEIPT_TIMEOUT_S, RECEIPT_POLL_S)
        except (OSError, Web3Exception) as error:
            raise as_licet_error(error, self.rpc_url) from error
        if receipt["status"] != 1:
            raise ChainError(
                "reverted", f"{contract}.{function} reverted in {tx_hash.to_0x_hex()}", "see its trace"
            )
        return Sent(tx_hash.to_0x_hex(), receipt["blockNumber"], receipt["gasUsed"], self._events(receipt))

    def sign_typed_data(
        self, domain: dict[str, Any], types: dict[str, Any], message: dict[str, Any]
    ) -> bytes:
        """The wallet's EIP-712 signature, 65 bytes."""
        return bytes(account_of(self._config).sign_typed_data(domain, types, message).signature)

    def _events(self, receipt: Any) -> dict[str, dict[str, Any]]:
        """Last occurrence of each known event in a receipt, by name."""
        found: dict[str, dict[str, Any]] = {}
        names = {address.lower(): name for name, address in self.addresses.items()}
        for name in {
            names[log["address"].lower()] for log in receipt["logs"] if log["address"].lower() in names
        }:
            contract = self.contract(name)
            for event in (entry["name"] for entry in load_abi(name) if entry["type"] == "event"):
                for log in contract.events[event]().process_receipt(receipt, errors=DISCARD):
                    if log["address"].lower() == self.addresses[name].lower():
                        found[log["event"]] = dict(log["args"])
        return found

    # --- publisher

    def register_asset(self, slug: str, kind: int = 1) -> tuple[str, Sent]:
        """Registers `owner/model`; returns its asset id."""
        sent = self.send("AssetRegistry", "register", slug, kind, self.wallet)
        return "0x" + sent.events["AssetRegistered"]["assetId"].hex(), sent

    def find_or_register(self, slug: str) -> str:
        """The asset id of a slug, registered to the wallet when it is new."""
        try:
            return self.asset_id(slug)
        except ChainError as error:
            if error.code != "asset_unknown":
                raise
        return self.register_asset(slug)[0]

    def asset_id(self, slug: str) -> str:
        """The asset id of a registered slug; raises ChainError when there is none."""
        token_id = int.from_bytes(Web3.keccak(text=slug))
        asset_id = bytes(self.call("AssetRegistry", "assetIdOf", token_id))
        # The id is computed for any token; only the table says whether there is one.
        if not self.call("AssetRegistry", "tokenIdOf", asset_id):
            raise ChainError(
                "asset_unknown", f"no asset is called {slug}", "check the name, or publish it first"
            )
        return "0x" + asset_id.hex()

    def publish_version(self, asset_id: str, digest: str, uri: str) -> Sent | None:
        """Publishes a version and makes it the active one; does what is left of it, None when nothing is."""
        if bytes(self.call("AssetRegistry", "activeVersion", _b32(asset_id))) == _b32(digest):
            return None
        try:
            self.send("AssetRegistry", "publishVersion", _b32(asset_id), _b32(digest), uri)
        except ChainError as error:
            if error.code != "AssetRegistry_VersionExists":
                raise
        return self.send("AssetRegistry", "activateVersion", _b32(asset_id), _b32(digest))

    def create_plan(self, asset_id: str, offer: PlanOffer) -> tuple[int, Sent]:
        """Puts immutable sale terms on chain; returns the plan id."""
        terms = (
            _b32(asset_id),
            Web3.to_checksum_address(self.addresses["TestUSD"]),
            offer.supply,
            offer.per_recipient,
            offer.price,
            offer.period_s,
            offer.included_units,
            offer.unit_price,
            offer.trial_period_s,
            offer.trial_units,
            offer.metering_rule,
            offer.requests_per_s,
            offer.transferable,
            offer.commercial,
            offer.optimistic_units,
            offer.optimistic_amount,
            _address(offer.server),
            offer.breach_notice_s,
            offer.seats,
            _b32(offer.terms_digest),
            _b32(offer.breach_grounds),
        )
        sent = self.send("PlanBook", "createPlan", terms)
        return int(sent.events["PlanCreated"]["planId"]), sent

    def announce_breach(self, token_id: int, evidence: str) -> int:
        """Announces a breach of a license, by the digest of what is alleged; returns when it can be revoked."""
        sent = self.send("BreachBook", "announce", token_id, _b32(evidence))
        return int(sent.events["BreachAnnounced"]["effectiveAt"])

    def revoke_license(self, token_id: int) -> int:
        """Revokes a license after its notice, pays the price of the time that is left, and returns that."""
        most = int(self.call("BreachBook", "refundOf", token_id))
        self.approve("BreachBook", most)
        return int(self.send("BreachBook", "revoke", token_id, most).events["BreachRefunded"]["refund"])

    # --- buyer

    def buy(self, plan_id: int, recipient: str = "") -> tuple[int, Sent]:
        """Pays the plan's price and receives a license; returns its token id."""
        to = _address(recipient or self.wallet)
        price = int(self.call("PlanBook", "termsOf", plan_id)[TERM_PRICE])
        self.approve("LicenseSale", price)
        sent = self.send("LicenseSale", "purchase", plan_id, to, price)
        return int(sent.events["LicensePurchased"]["tokenId"]), sent

    def start_trial(self, plan_id: int) -> tuple[int, Sent]:
        """Begins the wallet's one trial of a plan; returns the token id of its license, which can be renewed."""
        sent = self.send("LicenseSale", "startTrial", plan_id)
        return int(sent.events["LicensePurchased"]["tokenId"]), sent

    def deposit(self, operator: str, amount: int) -> tuple[str, Sent]:
        """Locks `amount` in the escrow for use at one operator; returns the deposit id."""
        payee, token = _address(operator), _address(self.addresses["TestUSD"])
        self.approve("UsageEscrow", amount)
        sent = self.send("UsageEscrow", "deposit", payee, token, amount)
        return "0x" + sent.events["Deposited"]["depositId"].hex(), sent

    def request_exit(self, deposit_id: str, amount: int) -> tuple[int, Sent]:
        """Asks for money back; it leaves the spendable amount at once and unlocks after the exit delay."""
        sent = self.send("UsageEscrow", "requestExit", _b32(deposit_id), amount)
        return int(sent.events["ExitRequested"]["exitId"]), sent

    def transfer_license(self, token_id: int, to: str) -> Sent:
        """Gives a license away; the former holder's calls are refused from the next block on."""
        return self.send("License", "transferFrom", self.wallet, _address(to), token_id)

    def delegate_license(self, token_id: int, user: str, until: int, *, revocable: bool = True) -> Sent:
        """Lets another account use a license instead of the wallet until then, Unix seconds, within its term.

        An irrevocable delegation cannot be taken back and locks the license until `unlockToken` after its end.
        """
        role = bytes(self.call("License", "USER_ROLE"))
        token = Web3.to_checksum_address(self.addresses["License"])
        return self.send(
            "License", "grantRole", (role, token, token_id, _address(user), until, revocable, b"")
        )

    def end_delegation(self, token_id: int) -> Sent:
        """Takes a delegated license back, or gives it back; the user's calls are refused from the next block on."""
        role = bytes(self.call("License", "USER_ROLE"))
        token = Web3.to_checksum_address(self.addresses["License"])
        return self.send("License", "revokeRole", token, token_id, role)

    def migrate_license(self, token_id: int) -> Sent:
        """Takes a license out of a retiring contract into the newest one, under its id and with what is left of it."""
        for address in self.former.get("License", []):
            left = self.naming({"License": address})
            try:
                left.call("License", "ownerOf", token_id)
            except ChainError:
                continue
            return left.send("License", "migrate", token_id)
        raise ChainError(
            "license_unknown",
            f"no earlier generation has license {token_id}",
            "it has moved already, or never was",
        )

    def claim_refund(self) -> int:
        """Claims what the wallet is owed for licenses that were revoked."""
        token = Web3.to_checksum_address(self.addresses["TestUSD"])
        return int(self.send("BreachBook", "claim", token).events["RefundClaimed"]["amount"])

    # --- owner

    def distribute(self, asset_id: str) -> None:
        """Makes all pending revenue of an asset claimable; a royalty goes up by one generation."""
        token = Web3.to_checksum_address(self.addresses["TestUSD"])
        # What came in under other terms waits by itself, and each distribution takes the oldest of it.
        while int(self.call("RevenueRouter", "pendingOf", _b32(asset_id), token)[0]):
            try:
                self.send("RevenueRouter", "distribute", _b32(asset_id), token)
            except ChainError as error:
                # Anyone may distribute, and somebody did in between.
                if error.code != "RevenueRouter_NothingPending":
                    raise

    def claim(self, asset_ids: Sequence[str]) -> tuple[int, Sent]:
        """Distributes the assets' pending revenue, then claims all that the wallet is owed.

        A royalty goes up one generation with each distribution: name children before their parents.
        """
        token = Web3.to_checksum_address(self.addresses["TestUSD"])
        for asset_id in asset_ids:
            self.distribute(asset_id)
        sent = self.send("RevenueRouter", "claim", token)
        return int(sent.events["Claimed"]["amount"]), sent

    def balance(self, account: str = "") -> int:
        """TestUSD of an account, smallest unit."""
        return int(self.call("TestUSD", "balanceOf", _address(account or self.wallet)))

    def approve(self, spender: str, amount: int) -> None:
        """Lets a contract take this much of the wallet's TestUSD, if it may not already."""
        address = Web3.to_checksum_address(self.addresses[spender])
        if int(self.call("TestUSD", "allowance", self.wallet, address)) < amount:
            self.send("TestUSD", "approve", address, amount)


def _entry(path: str, chain_id: int | None) -> dict[str, Any]:
    try:
        chains = json.loads(Path(path).read_text())["chains"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError("config_invalid", f"chains file {path}: {error}", "run `make up` again") from error
    for entry in chains:
        if chain_id is None or int(entry["chain_id"]) == chain_id:
            return dict(entry)
    raise ConfigError("config_invalid", f"no chain {chain_id} in {path}", "name one that the file lists")


def _address(value: str) -> str:
    """An address that someone typed, checksummed. One in mixed case has a checksum already, which must hold."""
    try:
        address = str(Web3.to_checksum_address(value))
    except (TypeError, ValueError) as error:
        raise ConfigError("invalid_value", f"{value!r} is no address", "pass 0x and 40 hex digits") from error
    digits = value[2:] if value[:2] in {"0x", "0X"} else value
    if digits not in {address[2:], digits.lower(), digits.upper()}:
        raise ConfigError("invalid_value", f"the checksum of {value!r} is wrong", "look for a typing error")
    return address


def _b32(value: str) -> bytes:
    try:
        raw = bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise ConfigError("invalid_value", f"{value!r} is not 32 bytes of hex", "pass 0x and 64 hex digits")
    return raw


def as_licet_error(error: Exception, rpc_url: str) -> ChainError | Unreachable:
    """The SDK's error for whatever web3 raised."""
    if isinstance(error, ContractCustomError):
        name, message = reverts.explain(str(error.data or error.message))
        return ChainError(name, message, reverts.remedy(name))
    if isinstance(error, ContractLogicError):
        return ChainError("reverted", str(error), "check the arguments and the wallet's balance")
    if isinstance(error, TimeExhausted):
        return ChainError(
            "not_included", f"no block took the transaction in {RECEIPT_TIMEOUT_S:.0f} s", "look it up"
        )
    if isinstance(error, OSError):
        return Unreachable("unreachable", f"the chain at {rpc_url} did not answer", "check `make status`")
    if "insufficient funds" in str(error).lower():
        return ChainError(
            "insufficient_gas", "the wallet cannot pay for gas", "send it some of the chain's own coin"
        )
    return ChainError("chain_error", str(error), "check the wallet's balance and the chain's log")
