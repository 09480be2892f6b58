"""Rules about who may hold the shares of an asset: set by its owner, kept by its issuers and officer.

>>> gate = client.gate(asset_id)                                    # doctest: +SKIP
>>> gate.enrol(account, HolderTerms(2, 276, until)); gate.standing(account).may_receive     # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from web3 import Web3

from licet_sdk.chain import Chain, Sent
from licet_sdk.errors import ConfigError
from licet_sdk.shares import NOBODY

HOLD, VOTE, EARN = 1, 2, 4
NONE, OPEN, REGULATED = 0, 1, 2
MAX_CLASS, MAX_JURISDICTION = 255, 999
# As many as one call of the contract takes.
_BATCH = 64
_GATE = "ComplianceGate"
_TYPES = {
    "Credential": [
        {"name": "assetId", "type": "bytes32"},
        {"name": "subject", "type": "address"},
        {"name": "class", "type": "uint8"},
        {"name": "jurisdiction", "type": "uint16"},
        {"name": "expiresAt", "type": "uint64"},
        {"name": "nonce", "type": "uint256"},
    ]
}


@dataclass(frozen=True, slots=True)
class HolderTerms:
    """What an issuer says about a holder: class, ISO 3166-1 numeric jurisdiction, and until when, Unix seconds."""

    holder_class: int
    jurisdiction: int
    expires_at: int

    def __post_init__(self) -> None:
        if not (
            0 < self.holder_class <= MAX_CLASS
            and 0 < self.jurisdiction <= MAX_JURISDICTION
            and 0 < self.expires_at < 2**64
        ):
            raise ConfigError(
                "invalid_value",
                f"class {self.holder_class} and jurisdiction {self.jurisdiction} until {self.expires_at}",
                "pass a class of 1 to 255, an ISO 3166-1 numeric code, and a time in Unix seconds",
            )


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Who may hold the shares of a regulated asset; the officer enforces it."""

    classes: Sequence[int]
    jurisdictions: Sequence[int]
    issuers: Sequence[str] = field(default=())
    officer: str = NOBODY


@dataclass(frozen=True, slots=True)
class SignedCredential:
    """What an issuer hands to a holder, who brings it to the chain."""

    subject: str
    terms: HolderTerms
    nonce: int
    issuer: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an account, and what it may do with shares of the asset now."""

    issuer: str
    expires_at: int
    jurisdiction: int
    holder_class: int
    is_frozen: bool
    may_send: bool
    may_receive: bool
    may_vote: bool
    may_be_paid: bool


class Gate:
    """The rules of one asset, and the caller's wallet among those who keep them."""

    def __init__(self, chain: Chain, asset_id: str) -> None:
        self._chain = chain
        self._asset = bytes.fromhex(asset_id.removeprefix("0x"))

    @property
    def address(self) -> str:
        """What shares of a regulated asset have to name as their gate."""
        return str(Web3.to_checksum_address(self._chain.addresses[_GATE]))

    def is_regulated(self) -> bool:
        """Whether the asset's shares need credentials."""
        return int(self._chain.call(_GATE, "modeOf", self._asset)) == REGULATED

    def regulate(self, rules: RuleSet) -> None:
        """Sets the rules of an asset that has no shares yet, as its owner; the last step makes them hold."""
        self._send("setOfficer", _address(rules.officer))
        self._send("setClasses", sum(1 << one for one in set(rules.classes)))
        codes = list(rules.jurisdictions)
        for i in range(0, len(codes), _BATCH):
            self._send("setJurisdictions", codes[i : i + _BATCH], True)
        for issuer in rules.issuers:
            self._send("setIssuer", _address(issuer), True)
        self._send("setMode", REGULATED)

    def enrol(self, account: str, terms: HolderTerms) -> Sent:
        """Gives an account a credential in place of its last, as an issuer."""
        return self._send(
            "enrol", _address(account), terms.holder_class, terms.jurisdiction, terms.expires_at
        )

    def sign(self, account: str, terms: HolderTerms) -> SignedCredential:
        """The same under the issuer's signature: it works once, and not after another enrolment or revocation."""
        subject = _address(account)
        nonce = int(self._chain.call(_GATE, "nonceOf", self._asset, subject))
        message = {
            "assetId": self._asset,
            "subject": subject,
            "class": terms.holder_class,
            "jurisdiction": terms.jurisdiction,
            "expiresAt": terms.expires_at,
            "nonce": nonce,
        }
        signature = self._chain.sign_typed_data(self._domain(), _TYPES, message)
        return SignedCredential(subject, terms, nonce, self._chain.wallet, signature)

    def enrol_signed(self, signed: SignedCredential) -> Sent:
        """Brings what an issuer signed to the chain; anyone may."""
        fields = (self._asset, signed.subject, *asdict(signed.terms).values(), signed.nonce)
        return self._chain.send(_GATE, "enrolSigned", fields, signed.issuer, signed.signature)

    def revoke(self, account: str) -> Sent:
        """Takes an account's credential, as its issuer or the officer. What it holds stays its own."""
        return self._send("revokeCredential", _address(account))

    def freeze(self, account: str, *, frozen: bool = True) -> Sent:
        """Stops an account or, with `frozen=False`, lets it go on, as the officer."""
        return self._send("freezeAccount", _address(account), frozen)

    def force(self, holder: str, to: str, amount: int) -> Sent:
        """Moves shares of the asset to an account that may receive them, as the officer."""
        shares = str(self._chain.call("SharesFactory", "partsOf", self._asset)[0])
        return self._chain.send(_GATE, "forceTransfer", shares, _address(holder), _address(to), amount)

    def list_contract(self, target: str, purposes: int) -> Sent:
        """Lets a contract do this, a sum of HOLD, VOTE and EARN."""
        return self._send("listContract", _address(target), purposes)

    def standing(self, account: str = "") -> Standing:
        """What an account may do, the caller's without one."""
        who = _address(account or self._chain.wallet)
        issuer, expires_at, jurisdiction, holder_class, _, is_frozen = self._read("accountOf", who)
        return Standing(
            issuer=str(issuer),
            expires_at=int(expires_at),
            jurisdiction=int(jurisdiction),
            holder_class=int(holder_class),
            is_frozen=bool(is_frozen),
            may_send=bool(self._read("canSend", who)),
            may_receive=bool(self._read("canReceive", who)),
            may_vote=bool(self._read("canVote", who)),
            may_be_paid=bool(self._read("canBePaid", who, who)),
        )

    def _read(self, function: str, *args: Any) -> Any:
        return self._chain.call(_GATE, function, self._asset, *args)

    def _send(self, function: str, *args: Any) -> Sent:
        return self._chain.send(_GATE, function, self._asset, *args)

    def _domain(self) -> dict[str, Any]:
        return {
            "name": "Licet Credential",
            "version": "1",
            "chainId": self._chain.chain_id,
            "verifyingContract": self.address,
        }


def _address(account: str) -> str:
    if not Web3.is_address(account):
        raise ConfigError("invalid_value", f"{account!r} is not an address", "write 0x and 40 hex digits")
    return str(Web3.to_checksum_address(account))
