"""Five refusals, five codes: each seen at both replicas, with the decision read back from where it was logged."""

from __future__ import annotations

import time

from licet_schemas.licet.licensing.v1 import licensing_pb2

from e2e.demo import books, calls
from e2e.demo.steps import Notes, check
from e2e.observe import eventually
from e2e.world import World


def stranger(world: World, notes: Notes) -> list[str]:
    """An account with a valid key and no license."""
    calls.wait_refused(world, notes, "stranger", "license_missing")
    return ["both gateways: license_missing", _logged(world, notes, "stranger", "license_missing")]


def forged_key(world: World, notes: Notes) -> list[str]:
    """A key that nobody issued, though its check digits are right."""
    notes["forger_key"] = books.well_formed_key()
    calls.wait_refused(world, notes, "forger", "credential_invalid")
    return ["both gateways: credential_invalid"]


def expired(world: World, notes: Notes) -> list[str]:
    """The license of ten seconds, which answered when it was bought."""
    token_id = notes["brief_license"]
    calls.wait_refused(world, notes, "brief", "license_expired", 40)
    refused_at = time.time()
    ends = world.chain.call("License", "licenseOf", token_id)[2]
    check(refused_at >= ends, "it was not refused before its end")
    # Licensing reads the clock, while the chain's time moves with its blocks and may still be a second behind.
    now = eventually(
        lambda: _chain_time_from(world, ends), "the license's end lies behind the chain's time", 5
    )
    return [
        f"chain: license {token_id} ended at {ends}, the chain's time is {now}",
        "answered before; both gateways now: license_expired",
        _logged(world, notes, "brief", "license_expired"),
    ]


def _chain_time_from(world: World, least: int) -> int:
    """The newest block's time once it is at least this, before that 0."""
    now = int(world.chain.w3.eth.get_block("latest")["timestamp"])
    return now if now >= least else 0


def transferred(world: World, notes: Notes) -> list[str]:
    """A license in use is given away."""
    token_id, taker = notes["giver_license"], world.actor("taker").address
    if world.chain.call("License", "ownerOf", token_id) != taker:  # it is, when the story goes on from here
        check(calls.refusal_code(world, notes, "giver") == "", "the license works before it is given away")
        world.client("giver").chain.transfer_license(token_id, taker)
    calls.wait_refused(world, notes, "giver", "license_transferred")
    owner = world.chain.call("License", "ownerOf", token_id)
    check(owner == taker, "the chain names the new holder")
    moved = world.logs("License", "Transfer", tokenId=token_id, to=taker)[-1]
    revoked = world.topic("licensing.revocation", licensing_pb2.GrantRevoked)
    ours = [r for r in revoked if r.grant_id == books.grant(world, "license", token_id)["grant_id"]]
    return [
        f"chain: license {token_id} belongs to {owner} since block {moved['blockNumber']}",
        f"Kafka: generation {ours[-1].minimum_generation - 1} of the grant revoked; both gateways: license_transferred",
    ]


def exhausted(world: World, notes: Notes) -> list[str]:
    """All included rows are used, and there is no deposit."""
    token_id = notes["buyer_license"]

    def spent() -> bool:
        for number in range(len(world.config.gateway)):
            calls.refusal_code(world, notes, "buyer", replica=number)
        grant = books.grant(world, "license", token_id)
        return bool(grant["spent"] == grant["granted"])

    eventually(spent, "all included rows are spent", 40)
    calls.wait_refused(world, notes, "buyer", "quota_exhausted")
    grant = books.grant(world, "license", token_id)
    return [
        f"licensing: granted {grant['granted']}, free {grant['free']}, leased {grant['leased']}, "
        f"suspended {grant['suspended']}, spent {grant['spent']}, lapsed {grant['lapsed']}",
        "both gateways: quota_exhausted",
    ]


def _logged(world: World, notes: Notes, name: str, code: str) -> str:
    account = notes[f"{name}_account"]

    def found() -> list[licensing_pb2.DecisionLogged]:
        logged = world.topic("licensing.decision", licensing_pb2.DecisionLogged)
        return [d for d in logged if d.account_id == account and d.code == code]

    decision = eventually(found, f"the decision {code} is in Kafka")[-1]
    return f"Kafka: decision {decision.decision_id} {decision.code} at block {decision.position.block_number}"
