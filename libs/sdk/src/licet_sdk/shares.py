"""Shares of an asset: created by its owner, held, paid, and voted with.

>>> shares = client.shares(asset_id)                                # doctest: +SKIP
>>> shares.collect(); shares.claim()                                # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from web3 import Web3

from licet_sdk.chain import Chain, Sent
from licet_sdk.errors import ChainError

AGAINST, FOR, ABSTAIN = 0, 1, 2
ONE_SHARE = 10**18
NOBODY = "0x" + "00" * 20
_PARTS = ("Shares", "AssetTimelock", "AssetGovernor")


@dataclass(frozen=True, slots=True)
class Issue:
    """What an asset is turned into. Amounts in 10^-18 of a share, times in seconds.

    `allocations` is the whole supply by holder. With `votes`, the holders decide and `steward` stays empty; without,
    the steward schedules what the timelock does. `delay_s` and `voting_period_s` are no shorter than an exit.
    """

    name: str
    symbol: str
    allocations: Mapping[str, int]
    delay_s: int
    votes: bool = False
    steward: str = NOBODY
    operator: str = NOBODY
    gate: str = NOBODY
    excluded: Sequence[str] = field(default=())
    voting_delay_s: int = 1
    voting_period_s: int = 0
    proposal_threshold: int = ONE_SHARE
    quorum_percent: int = 20


@dataclass(frozen=True, slots=True)
class Motion:
    """A proposal of one call, as the governor wants it again when it is queued and executed."""

    proposal_id: int
    target: str
    data: bytes
    description: str

    @property
    def call(self) -> tuple[list[str], list[int], list[bytes], bytes]:
        """Targets, values, call data and the hash of the description."""
        return [self.target], [0], [self.data], bytes(Web3.keccak(text=self.description))


def issue(chain: Chain, asset_id: str, terms: Issue) -> Shares:
    """Turns the caller's asset into shares; its token goes to their timelock in the same transaction."""
    asset = bytes.fromhex(asset_id.removeprefix("0x"))
    factory = Web3.to_checksum_address(chain.addresses["SharesFactory"])
    chain.send("AssetRegistry", "approve", factory, chain.call("AssetRegistry", "tokenIdOf", asset))
    allocations = [
        (Web3.to_checksum_address(to), amount, 0, 0, 0) for to, amount in terms.allocations.items()
    ]
    currency = Web3.to_checksum_address(chain.addresses["TestUSD"])
    ballot = (
        terms.voting_delay_s,
        terms.voting_period_s,
        terms.proposal_threshold,
        terms.quorum_percent,
    )
    shares = (
        *(terms.name, terms.symbol, terms.gate, terms.votes),
        *([currency], list(terms.excluded), allocations),
    )
    order = (asset, terms.steward, terms.operator, terms.delay_s, ballot, shares)
    chain.send("SharesFactory", "fractionalise", order)
    return Shares(chain, asset_id)


class Shares:
    """The shares of one asset, and the caller's wallet among their holders."""

    def __init__(self, chain: Chain, asset_id: str) -> None:
        """Raises ChainError when the asset has no shares."""
        self._asset = bytes.fromhex(asset_id.removeprefix("0x"))
        found = chain.call("SharesFactory", "partsOf", self._asset)
        if int(found[0], 16) == 0:
            raise ChainError(
                "shares_unknown", f"asset {asset_id} has no shares", "check the asset, or issue them first"
            )
        self.chain = chain.naming(dict(zip(_PARTS, found, strict=True)))
        self._usd = Web3.to_checksum_address(chain.addresses["TestUSD"])

    def balance(self, account: str = "") -> int:
        """Shares of an account, the caller's without one."""
        return int(self.chain.call("Shares", "balanceOf", account or self.chain.wallet))

    def claimable(self, account: str = "") -> int:
        """What an account's shares have earned and were not paid."""
        return int(self.chain.call("Shares", "claimableOf", account or self.chain.wallet, self._usd))

    def transfer(self, to: str, amount: int) -> Sent:
        """Moves shares; what they have earned so far stays with the caller."""
        return self.chain.send("Shares", "transfer", Web3.to_checksum_address(to), amount)

    def collect(self) -> int:
        """Distributes the asset's revenue and brings the shares' part of it to them; holders own it a second later."""
        self.chain.distribute("0x" + self._asset.hex())
        router = Web3.to_checksum_address(self.chain.addresses["RevenueRouter"])
        sent = self.chain.send("Shares", "collect", router, self._usd)
        return int(sent.events["RevenueCollected"]["amount"])

    def claim(self) -> int:
        """Pays the caller what its shares have earned."""
        sent = self.chain.send("Shares", "claim", self._usd)
        return int(sent.events["RevenueClaimed"]["amount"])

    def claim_to(self, to: str) -> int:
        """Pays it to somebody else, whom the gate lets be paid."""
        sent = self.chain.send("Shares", "claimTo", self._usd, Web3.to_checksum_address(to))
        return int(sent.events["RevenueClaimed"]["amount"])

    def delegate(self, to: str = "") -> Sent:
        """Gives the caller's votes to an account; without one, to the caller itself, which makes them count."""
        return self.chain.send("Shares", "delegate", to or self.chain.wallet)

    def votes(self, account: str = "") -> int:
        """Votes of an account, the caller's without one."""
        return int(self.chain.call("Shares", "getVotes", account or self.chain.wallet))

    def propose(self, contract: str, function: str, *args: Any, description: str) -> Motion:
        """Proposes that the asset's timelock make one call to a contract of the chains file, or one of these three."""
        target = self.chain.contract(contract)
        data = bytes.fromhex(target.encode_abi(function, list(args)).removeprefix("0x"))
        sent = self.chain.send("AssetGovernor", "propose", [target.address], [0], [data], description)
        proposal_id = int(sent.events["ProposalCreated"]["proposalId"])
        return Motion(proposal_id, str(target.address), data, description)

    def vote(self, motion: Motion, support: int = FOR) -> Sent:
        """Casts the votes that the caller had when the vote began."""
        return self.chain.send("AssetGovernor", "castVote", motion.proposal_id, support)

    def queue(self, motion: Motion) -> Sent:
        """Sends what was decided to the timelock, where it waits."""
        return self.chain.send("AssetGovernor", "queue", *motion.call)

    def execute(self, motion: Motion) -> Sent:
        """Does what was decided, after the wait."""
        return self.chain.send("AssetGovernor", "execute", *motion.call)
