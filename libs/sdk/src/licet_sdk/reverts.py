"""Turns a contract's custom error data into its name, its values and a remedy."""

from __future__ import annotations

from functools import cache
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from licet_schemas.abi import load_abi
from web3 import Web3

_CONTRACTS = (
    "AssetRegistry",
    "PlanBook",
    "License",
    "LicenseSale",
    "UsageEscrow",
    "RevenueRouter",
    "Market",
    "SharesFactory",
    "Shares",
    "AssetTimelock",
    "AssetGovernor",
    "BreachBook",
    "Credits",
    "CreditToken",
    "Directory",
    "TestUSD",
    "ComplianceGate",
    "IdentityAdapter",
    "MirrorBook",
)
_REMEDIES = {
    "AssetRegistry_SlugTaken": "choose another name, or publish a version of the registered asset",
    "AssetRegistry_NamespaceTaken": "choose a namespace (the part before the slash) of your own",
    "AssetRegistry_InvalidSlug": "use owner/model, each part 1 to 39 of a-z, 0-9 and -",
    "AssetRegistry_InvalidParents": "name 1 to 8 parents",
    "AssetRegistry_InvalidRoyalty": "give each parent 1 basis point or more, and all of them 5000 at most",
    "AssetRegistry_RepeatedParent": "name each parent once",
    "AssetRegistry_TooDeep": "an asset has at most 4 generations above it; derive from an older one",
    "AssetRegistry_TooManyPayees": "parents and contributors are 8 at most",
    "AssetRegistry_InvalidShare": "name contributors with a share of 1 to 10000 basis points, or neither",
    "AssetRegistry_InvalidContributor": "name each contributor once, with an address and a weight above 0",
    "PlanBook_UnknownPlan": "list plans with the indexer's /v1/plans",
    "PlanBook_NothingSold": "include units in the price, or set a unit price",
    "PlanBook_Closed": "choose a plan that is open",
    "License_NoNextGeneration": "wait until the next generation of the contract is listed",
    "License_NotActive": "take the license into the next generation, and renew it there",
    "License_Held": "wait until the breach that is announced lapses or is taken back",
    "Directory_EntryPaused": "wait until the pause is over; what is owed can be claimed meanwhile",
    "PlanBook_SoldOut": "buy another plan, or a license of this one from its holder",
    "PlanBook_RecipientLimit": "renew the license, or choose another plan",
    "PlanBook_NoTrial": "buy the plan, or choose one with a trial",
    "PlanBook_TrialTaken": "renew the trial's license, or buy the plan",
    "PlanBook_InvalidTrial": "give a trial both a length within the period and units, or neither",
    "Credits_Unauthorized": "use the wallet that owns the plan's asset",
    "Credits_PlanClosed": "choose a series of a plan that is open",
    "Credits_InvalidSupply": "give a price and a supply above 0",
    "Credits_InvalidExpiry": "let the series end after now, and within ten years",
    "Credits_UnknownSeries": "list series with the indexer's /v1/credits",
    "Credits_Expired": "choose a series that has not ended; units in the escrow come back by an exit",
    "Credits_NotExpired": "wait until the series ends",
    "Credits_ZeroUnits": "name a number of units above 0, and holders that have some",
    "Credits_SoldOut": "ask for fewer units, or another series",
    "Credits_PriceAboveMax": "read the series' price again",
    "Credits_NotTransferable": "lock the units for use; they do not move between holders",
    "Credits_NotByDeposit": "use `licet credits lock`, or the escrow's deposit",
    "LicenseSale_PriceAboveMax": "read the plan's price again",
    "ERC20InsufficientBalance": "fund the wallet with the plan's currency",
    "ERC20InsufficientAllowance": "approve the contract for the amount",
    "LicenseSale_IntentExpired": "sign a new intent with a later deadline",
    "License_Breached": "the license was revoked for a breach; its holder claims the refund",
    "BreachBook_NotRevocable": "the plan states no grounds, so its licenses are never revoked",
    "BreachBook_NoticeRuns": "revoke after the notice of the plan",
    "BreachBook_NotAnnounced": "announce the breach, wait out the notice, and revoke within seven days",
    "BreachBook_NothingToClaim": "no refund is owed to this wallet",
    "License_InvalidDelegation": "name a user, and an end that is after now and within the license's term",
    "License_NotDelegated": "nobody uses the license by a delegation that still runs",
    "License_Delegated": "wait for the end of the irrevocable delegation",
    "License_NotHolder": "use the wallet that holds the license",
    "License_Locked": "unlock the license first; an irrevocable delegation ends at its own time",
    "License_NotTransferable": "the plan's terms do not allow transfers",
    "UsageEscrow_InsufficientSpendable": "ask for at most the deposit's spendable amount",
    "UsageEscrow_ExitLocked": "withdraw after the unlock time",
    "Market_NotInTime": "ask the maker for a new order",
    "Market_NonceUsed": "the order was filled or cancelled; ask the maker for a new one",
    "Market_EpochOver": "the maker cancelled all orders; ask for a new one",
    "Market_StateChanged": "look at the token again, and ask the maker for a new order if you still want it",
    "Market_SelfDealing": "fill somebody else's order, or cancel your own",
    "Shares_NothingToClaim": "nothing was earned yet; revenue arrives with `collect`, a second earlier",
    "Shares_Unvested": "move at most what has vested",
    "SharesFactory_NotOwner": "only the asset's owner turns it into shares",
    "RevenueRouter_NothingPending": "somebody else distributed it; claim what you are owed",
    "RevenueRouter_NothingToClaim": "nothing is owed yet; revenue arrives with sales and settlements",
    "ERC7943CannotSend": "the account is frozen; ask the asset's officer",
    "ERC7943CannotReceive": "have an issuer of the asset enrol the account; `licet gate show` says what is missing",
    "Shares_CannotBePaid": "renew the credential, or claim to an account that has one; what was earned stays yours",
    "ComplianceGate_NotAuthority": "only the asset's owner, or the timelock of its shares, loosens its rules",
    "ComplianceGate_NotOfficer": "use the wallet of the asset's officer",
    "ComplianceGate_NotIssuer": "use the wallet of an issuer that the asset allows",
    "ComplianceGate_GateRequired": "the asset is regulated: name the ComplianceGate when you issue its shares",
    "ComplianceGate_InvalidNonce": "ask the issuer to sign anew; the account was enrolled or revoked since",
    "PlanBook_MirrorClosed": "the asset's owner at home must sign for this chain again",
    "MirrorBook_NotReported": "wait until a reporter has said that you own the asset at home, and sign that epoch",
    "MirrorBook_InvalidTime": "sign for an end that is at most 30 days after the last report",
    "MirrorBook_InvalidSignature": "sign with the wallet that owns the asset at home; a contract cannot",
    "MirrorBook_NonceUsed": "sign again with the next nonce",
    "MirrorBook_UnknownParent": "the parents' owners must let them be sold on this chain first",
    "MirrorBook_AtHome": "the asset is sold here already: this chain is its home",
    "UsageEscrow_UnknownDeposit": "the payer deposits at this operator first",
    "UsageEscrow_NonceUsed": "draft the mandate again, with a nonce of its own",
    "UsageEscrow_InvalidMandateWindow": "use fewer than 2^24 windows, of a minute or more, and one of grace at most",
    "UsageEscrow_InvalidMandateTime": "let the mandate end after it begins, after now, and before 2105",
    "UsageEscrow_TooManyAssets": "name 16 assets at most, or none for all of them",
    "UsageEscrow_UnknownMandate": "check the mandate's id, or open it first",
    "UsageEscrow_NotMandatePayer": "use the wallet that pays for the mandate",
    "UsageEscrow_MandateTooLarge": "its amount has 88 bits at most, a window's amount 87, a window's calls 24",
    "UsageEscrow_NotLinePayer": "use the wallet that paid for the call",
    "UsageEscrow_NothingDrawn": "nothing was drawn for this line, so there is nothing to give back",
    "UsageEscrow_WrongDisputeStatus": "look at it with `licet dispute show`: a line is challenged once",
    "UsageEscrow_WrongDisputeTime": "challenge within the dispute time of the settlement; refund after the deadline",
    "UsageEscrow_NotHeld": "the dispute time is over, and the money was released",
    "UsageEscrow_NothingToRelease": "wait for the release time, or for the end of a challenge",
    "UsageEscrow_InvalidVoucherSignature": "sign the voucher with the payer's wallet",
    "UsageEscrow_StaleVoucher": "sign for more than the last voucher",
    "UsageEscrow_MandateIsRevoked": "the mandate is over; open another one for later use",
}


def explain(data: str) -> tuple[str, str]:
    """Name and readable text of custom error data (0x-hex); unknown data is returned as it is."""
    entry = _errors().get(data[:10].lower())
    if entry is None:
        return "reverted", f"the contract refused with {data[:10]}"
    name, inputs = entry
    try:
        values = decode([i["type"] for i in inputs], bytes.fromhex(data[10:]))
    except (DecodingError, ValueError):
        values = ()
    shown = ", ".join(f"{i['name']}={_shown(v)}" for i, v in zip(inputs, values, strict=False))
    return name, f"{name}({shown})"


def remedy(name: str) -> str:
    """What to do about an error."""
    return _REMEDIES.get(name, "mend what the error names, then try again")


def _shown(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


@cache
def _errors() -> dict[str, tuple[str, list[dict[str, Any]]]]:
    found = {}
    for contract in _CONTRACTS:
        for entry in load_abi(contract):
            if entry["type"] == "error":
                signature = f"{entry['name']}({','.join(i['type'] for i in entry['inputs'])})"
                found[Web3.keccak(text=signature)[:4].to_0x_hex()] = (entry["name"], entry["inputs"])
    return found
