"""Writes receipts, mandates, mirrors, signed, sumtree and settlement (.json) from implementations other than ours.

EIP-712 comes from eth-account's general encoder, packed hashes from eth-abi and eth-utils; the trees are
written down here a second time, as recursion. Deterministic: every value derives from a label.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

from eth_abi.abi import encode
from eth_abi.packed import encode_packed
from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data
from eth_utils.crypto import keccak

HERE = pathlib.Path(__file__).resolve().parent
ESCROW = "0x" + keccak(text="vector escrow")[-20:].hex()
CHAIN_ID = 31337
LINE_TYPES = ["uint32", "bytes32", "address", "address", "bytes32", "uint32", "uint128", "bytes32", "uint32"]
# 0x and 20 bytes.
ADDRESS_CHARS = 42

Node = tuple[bytes, int]


def word(label: str) -> str:
    """32 bytes that belong to a label."""
    return "0x" + keccak(text=label).hex()


def address(label: str) -> str:
    """An address that belongs to a label."""
    return "0x" + keccak(text=label)[-20:].hex()


def raw(value: str) -> bytes:
    """Bytes of a 0x string."""
    return bytes.fromhex(value[2:])


# --- receipts ---

TYPES = {
    "Receipt": "string requestId,string accountId,uint64 accountLease,uint64 sequence,bool last,"
    "string grantId,bytes32 assetId,bytes32 versionDigest,uint256 planId,string meteringRule,uint64 units,"
    "string priceBookVersion,uint8 outcome,uint64 startedAtMs,uint64 endedAtMs,bytes32 requestCommitment,"
    "bytes32 responseCommitment",
    "ReplicaCertificate": "address operator,address replica,uint64 validFrom,uint64 validUntil",
    "Segment": "bytes32 root,uint32 receipts",
    "Mandate": "address payer,address operator,address token,uint128 windowAmount,uint128 totalAmount,"
    "uint128 inFlightCap,uint32 windowLength,uint32 windowRecords,uint32 grace,uint64 validFrom,"
    "uint64 validUntil,bytes32[] assets,uint256 nonce",
    "Mirror": "string slug,uint256 homeChainId,address homeRegistry,address homeOwner,uint64 epoch,address owner,"
    "uint64 validUntil,uint64 nonce",
    "Credential": "bytes32 assetId,address subject,uint8 class,uint16 jurisdiction,uint64 expiresAt,uint256 nonce",
    "Order": "address maker,uint8 side,uint8 standard,address token,uint256 tokenId,uint128 amount,"
    "address currency,uint128 startPrice,uint128 endPrice,uint64 startTime,uint64 endTime,address taker,"
    "uint256 nonce,uint64 epoch,bytes32 stateHash",
    "PurchaseIntent": "uint256 planId,address recipient,uint128 maxPrice,uint64 deadline,uint256 nonce",
    "Voucher": "address payer,address operator,address token,bytes32 channel,uint128 cumulative",
}
RECEIPTS = ("Receipt", "ReplicaCertificate", "Segment")


def typed(name: str, message: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The message as JSON, and its EIP-712 form by eth-account."""
    fields = [dict(zip(("type", "name"), field.split(), strict=True)) for field in TYPES[name].split(",")]
    title = "Licet Receipt" if name in RECEIPTS else f"Licet {name.removesuffix('Intent')}"
    domain = {"name": title, "version": "1", "chainId": CHAIN_ID, "verifyingContract": ESCROW}
    signable = encode_typed_data(domain_data=domain, message_types={name: fields}, message_data=message)
    wide = {f["name"] for f in fields if f["type"] in ("uint64", "uint128", "uint256")}
    return {k: str(v) if k in wide else v for k, v in message.items()}, signable


def signed(name: str, message: dict[str, Any], label: str) -> dict[str, Any]:
    """A vector: message, digest, and a signature by the label's key."""
    shown, signable = typed(name, message)
    account = Account.from_key(keccak(text=label))
    return {
        name[0].lower() + name[1:]: shown,
        "digest": "0x" + _hash_eip191_message(signable).hex(),
        "keyLabel": label,
        "signer": account.address.lower(),
        "signature": "0x" + account.sign_message(signable).signature.hex().removeprefix("0x"),
    }


def receipt(i: int, **changes: Any) -> dict[str, Any]:
    """The i-th example receipt."""
    lease = keccak(text=f"lease {i}").hex()[:32]
    plain = {
        "requestId": f"{lease}-{i}",
        "accountId": f"0190b6d0-0000-7000-8000-{i:012d}",
        "accountLease": i + 1,
        "sequence": i,
        "last": False,
        "grantId": f"{CHAIN_ID}:{address('license')}:{i + 7}:0",
        "assetId": word("asset"),
        "versionDigest": word("version"),
        "planId": i + 1,
        "meteringRule": "rows:INPUT__0",
        "units": 32 * i,
        "priceBookVersion": f"{CHAIN_ID}:{address('planbook')}:{i + 1}",
        "outcome": 1,
        "startedAtMs": 1_760_000_000_000 + i,
        "endedAtMs": 1_760_000_000_012 + i,
        "requestCommitment": word(f"request {i}"),
        "responseCommitment": word(f"response {i}"),
    }
    return plain | changes


def receipts() -> dict[str, Any]:
    """Receipts at the ends of their ranges, certificates and segments."""
    top = 2**64 - 1
    nothing = "0x" + "00" * 32
    examples = [
        receipt(1),
        receipt(2, last=True, outcome=5, units=0, meteringRule="request"),
        receipt(3, requestId="", accountId="", grantId="", meteringRule="", priceBookVersion="", planId=0),
        receipt(4, accountId="Kontö-账户-🪪", meteringRule="rows:entrée"),
        receipt(
            5, accountLease=top, sequence=top, units=top, startedAtMs=top, endedAtMs=top, planId=2**256 - 1
        ),
        receipt(
            6, outcome=255, assetId=nothing, requestCommitment=nothing, responseCommitment="0x" + "ff" * 32
        ),
    ]
    certificate = {"operator": address("operator"), "replica": address("replica")}
    certificates = [
        certificate | {"validFrom": 1_760_000_000, "validUntil": 1_760_086_400},
        certificate | {"validFrom": 0, "validUntil": top},
    ]
    segments = [{"root": word("root"), "receipts": 1}, {"root": "0x" + "ff" * 32, "receipts": 2**32 - 1}]
    return {
        "domain": {"chainId": CHAIN_ID, "verifyingContract": ESCROW},
        "receipts": [signed("Receipt", r, f"vector key {i}") for i, r in enumerate(examples)],
        "certificates": [signed("ReplicaCertificate", c, "vector receipt key") for c in certificates],
        "segments": [signed("Segment", s, "vector replica key") for s in segments],
    }


# --- mandates ---


def mandate(i: int, **changes: Any) -> dict[str, Any]:
    """The i-th example mandate."""
    plain = {
        "payer": address(f"payer {i}"),
        "operator": address("operator"),
        "token": address("currency"),
        "windowAmount": 1_000_000 * i,
        "totalAmount": 20_000_000 * i,
        "inFlightCap": 50_000 * i,
        "windowLength": 3600,
        "windowRecords": 1000,
        "grace": 900,
        "validFrom": 1_760_000_000,
        "validUntil": 1_760_086_400,
        "assets": [],
        "nonce": i,
    }
    return plain | changes


def mandates() -> dict[str, Any]:
    """Mandates for any asset, for one, for the most, and at the ends of their ranges."""
    widest = {
        "windowAmount": 2**128 - 1,
        "totalAmount": 2**128 - 1,
        "inFlightCap": 2**128 - 1,
        "windowLength": 2**32 - 1,
        "windowRecords": 2**32 - 1,
        "grace": 2**32 - 1,
        "validFrom": 2**64 - 2,
        "validUntil": 2**64 - 1,
        "nonce": 2**256 - 1,
    }
    examples = [
        mandate(1),
        mandate(2, assets=[word("asset")]),
        mandate(3, assets=[word(f"asset {i}") for i in range(16)], inFlightCap=0, grace=0),
        mandate(4, **widest),
    ]
    return {
        "domain": {"chainId": CHAIN_ID, "verifyingContract": ESCROW},
        "mandates": [signed("Mandate", m, f"vector payer {i}") for i, m in enumerate(examples)],
    }


# --- mirrors ---


def mirror(i: int, **changes: Any) -> dict[str, Any]:
    """The i-th example statement."""
    plain = {
        "slug": f"acme/model-{i}",
        "homeChainId": i,
        "homeRegistry": address("home registry"),
        "homeOwner": address(f"home owner {i}"),
        "epoch": i,
        "owner": address(f"mirror owner {i}"),
        "validUntil": 1_760_086_400,
        "nonce": i - 1,
    }
    return plain | changes


def lineage(size: int) -> dict[str, Any]:
    """Parents and the hash that reporters state."""
    parents = [(word(f"parent {i}"), 100 * (i + 1)) for i in range(size)]
    encoded = encode(["(bytes32,uint16)[]"], [[(raw(parent), royalty) for parent, royalty in parents]])
    return {
        "parents": [{"assetId": parent, "royaltyBp": royalty} for parent, royalty in parents],
        "lineage": "0x" + keccak(encoded).hex(),
    }


def mirrors() -> dict[str, Any]:
    """Statements, one of them at the ends of its ranges, and lineages without, with one and with the most parents."""
    widest = {
        "slug": "/".join(["z" * 39] * 2),
        "homeChainId": 2**256 - 1,
        "epoch": 2**64 - 1,
        "validUntil": 2**64 - 1,
        "nonce": 2**64 - 1,
    }
    examples = [mirror(1), mirror(2), mirror(3, **widest)]
    return {
        "domain": {"chainId": CHAIN_ID, "verifyingContract": ESCROW},
        "mirrors": [signed("Mirror", m, f"vector home owner {i}") for i, m in enumerate(examples)],
        "lineages": [lineage(size) for size in (0, 1, 8)],
    }


# --- credentials, orders, purchase intents, vouchers ---

LAST = {"side": 1, "standard": 2}  # of the enumerations, which a type does not tell


def example(name: str, i: int) -> dict[str, Any]:
    """The i-th example of a type: small numbers, zeros, the greatest numbers."""
    message: dict[str, Any] = {}
    for place, field in enumerate(TYPES[name].split(",")):
        kind, title = field.split()
        if kind.startswith("uint"):
            most = LAST.get(title, 2 ** int(kind.removeprefix("uint")) - 1)
            message[title] = (min(place + 1, most), 0, most)[i]
        else:
            shown = (address if kind == "address" else word)(f"{name} {title} {i}")
            message[title] = f"0x{0:0{len(shown) - 2}x}" if i == 1 else shown
    return message


def signatures() -> dict[str, Any]:
    """Three examples of each type, signed."""
    names = ("Credential", "Order", "PurchaseIntent", "Voucher")
    return {"domain": {"chainId": CHAIN_ID, "verifyingContract": ESCROW}} | {
        f"{name.lower().removesuffix('intent')}s": [
            signed(name, example(name, i), f"vector {name} signer {i}") for i in range(3)
        ]
        for name in names
    }


# --- sum trees ---


def charge(label: str, amount: int, payer: str, currency: str) -> dict[str, str]:
    """A charge whose hash and salt belong to the label."""
    return {
        "receiptHash": word(f"{label} receipt"),
        "amount": str(amount),
        "currency": currency,
        "payer": payer,
        "salt": word(f"{label} salt"),
    }


def leaf(c: dict[str, str]) -> Node:
    """Leaf of a charge."""
    values = (b"\0", raw(c["receiptHash"]), int(c["amount"]), c["currency"], c["payer"], raw(c["salt"]))
    return keccak(
        encode_packed(["bytes1", "bytes32", "uint128", "address", "address", "bytes32"], values)
    ), int(c["amount"])


def join(left: Node, right: Node) -> Node:
    """Node over two."""
    packed = encode_packed(["bytes1", "bytes32", "uint128", "bytes32", "uint128"], (b"\1", *left, *right))
    return keccak(packed), left[1] + right[1]


def fold(nodes: list[Node], index: int) -> tuple[Node, list[dict[str, Any]]]:
    """Root of the nodes and the proof of one of them; splits at the largest power of two below the count."""
    if len(nodes) == 1:
        return nodes[0], []
    split = 1 << (len(nodes) - 1).bit_length() - 1
    left, left_steps = fold(nodes[:split], index)
    right, right_steps = fold(nodes[split:], index - split)
    sibling, steps = (right, left_steps) if index < split else (left, right_steps)
    step = {"hash": "0x" + sibling[0].hex(), "sum": str(sibling[1]), "left": index >= split}
    return join(left, right), [*steps, step]


def sum_tree(charges: list[dict[str, str]]) -> dict[str, Any]:
    """A tree over charges with every proof."""
    leaves = [leaf(c) for c in charges]
    root, total = fold(leaves, 0)[0]
    return {
        "charges": charges,
        "leaves": ["0x" + node[0].hex() for node in leaves],
        "root": "0x" + root.hex(),
        "sum": str(total),
        "proofs": [fold(leaves, i)[1] for i in range(len(leaves))],
    }


def sum_trees() -> dict[str, Any]:
    """Trees of every shape up to 9, one that reaches the greatest sum, one of zeros."""
    payer, currency = address("payer"), address("currency")
    shapes = [[1000 * i + size for i in range(size)] for size in (1, 2, 3, 4, 5, 6, 7, 8, 9)]
    shapes += [[2**128 - 2, 1], [0, 0, 0]]
    return {
        "trees": [
            sum_tree([charge(f"tree {t} {i}", amount, payer, currency) for i, amount in enumerate(shape)])
            for t, shape in enumerate(shapes)
        ]
    }


# --- settlement ---


def pair_root(leaves: list[bytes]) -> bytes:
    """Root of OpenZeppelin's standard tree with unsorted leaves."""

    def node(i: int) -> bytes:
        if i >= len(leaves) - 1:
            return leaves[2 * len(leaves) - 2 - i]
        return keccak(b"".join(sorted((node(2 * i + 1), node(2 * i + 2)))))

    return node(0)


def batch(size: int) -> dict[str, Any]:
    """A batch of items, each over a sum tree of its own."""
    operator = address("operator")
    groups: list[dict[str, Any]] = []
    values, trees = [], []
    for i in range(size):
        payer, currency = address(f"payer {i}"), address(f"currency {i // 3}")
        charges = [charge(f"batch {size} {i} {n}", 10 * n + i + 1, payer, currency) for n in range(i + 1)]
        trees.append(sum_tree(charges))
        # Two items a group; every third draws through a mandate.
        if i % 2 == 0:
            groups.append({"assetId": word(f"asset {i % 4}"), "token": currency, "items": []})
        item = {
            "payer": payer,
            "authority": word(f"mandate {i}") if i % 3 == 2 else "0x" + "00" * 32,
            "window": i if i % 3 == 2 else 0,
            "amount": trees[-1]["sum"],
            "payerRoot": trees[-1]["root"],
            "records": len(charges),
        }
        groups[-1]["items"].append(item)
        line = [i, groups[-1]["assetId"], groups[-1]["token"], *item.values()]
        values.append(
            [int(v) if str(v).isdecimal() else v if len(v) == ADDRESS_CHARS else raw(v) for v in line]
        )
    leaves = [keccak(keccak(encode(LINE_TYPES, row))) for row in values]
    return {
        "operator": operator,
        "groups": groups,
        "leaves": ["0x" + x.hex() for x in leaves],
        "root": "0x" + pair_root(leaves).hex(),
        "trees": trees,
    }


def main() -> None:
    """Writes the six files."""
    contents = {
        "receipts": receipts(),
        "mandates": mandates(),
        "mirrors": mirrors(),
        "signed": signatures(),
        "sumtree": sum_trees(),
        "settlement": {"batches": [batch(size) for size in (1, 2, 3, 5)]},
    }
    for name, content in contents.items():
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
