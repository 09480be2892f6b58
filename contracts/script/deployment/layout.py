"""What stands on a chain: contracts, their constructor arguments, and the addresses that follow from both.

Constructors take only values that are equal on every chain, and the addresses form a DAG, so the same deployer gets
the same addresses everywhere. A stranger can send the same creation code first, and gets the same contracts with
the same admin: the deployer is part of the code's arguments and of the salt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from deployment.artifacts import Artifact, load

# https://github.com/Arachnid/deterministic-deployment-proxy, present on anvil and on most chains.
CREATE2_DEPLOYER: Final = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
GENERATION: Final = 1
ZERO_ADDRESS: Final = "0x" + "00" * 20

Addresses = dict[str, str]
# Who gets how much of the network token, in its smallest unit.
Distribution = dict[str, int]
NETWORK_SUPPLY: Final = 10**9 * 10**18


@dataclass(frozen=True, slots=True)
class Placed:
    """One contract of the layout, with what deploys it and where it will stand."""

    artifact: Artifact
    address: str
    salt: bytes
    init_code: bytes

    @property
    def name(self) -> str:
        """Name of the contract."""
        return self.artifact.name


# In the order of their dependencies. `LISTED` are the ones that the Directory names.
_ARGUMENTS: Final[dict[str, Callable[[Addresses], list[Any]]]] = {
    "AccessManager": lambda a: [a["deployer"]],
    # The delay starts at 0 for the deployment itself and is raised before the roles move; no admin but itself.
    "TimelockController": lambda a: [0, [a["deployer"]], [ZERO_ADDRESS], ZERO_ADDRESS],
    "Directory": lambda a: [a["AccessManager"]],
    "MirrorBook": lambda a: [a["AccessManager"], a["Directory"]],
    "AssetRegistry": lambda a: [a["Directory"], a["MirrorBook"]],
    "PlanBook": lambda a: [a["Directory"], a["AssetRegistry"]],
    "License": lambda a: [a["Directory"]],
    "LicenseSale": lambda a: [a["Directory"], a["PlanBook"], a["License"]],
    "RevenueRouter": lambda a: [
        a["AccessManager"],
        a["Directory"],
        a["AssetRegistry"],
        a["TimelockController"],
    ],
    # Code that the escrow runs in its own storage; it is nothing alone, so the Directory does not list it.
    "EscrowExtension": lambda a: [a["AccessManager"], a["Directory"]],
    "UsageEscrow": lambda a: [a["AccessManager"], a["Directory"], a["EscrowExtension"]],
    "Market": lambda a: [a["Directory"]],
    # Codes that the factory clones; they are closed themselves, so the Directory does not list them.
    "Shares": lambda a: [a["Directory"]],
    "AssetTimelock": lambda a: [a["Directory"], a["AssetRegistry"]],
    "AssetGovernor": lambda a: [a["Directory"]],
    "ComplianceGate": lambda a: [a["AccessManager"], a["Directory"], a["AssetRegistry"]],
    # An issuer, with nothing to close: what it issues counts where the gate's rules name it.
    "IdentityAdapter": lambda a: [a["ComplianceGate"]],
    "SharesFactory": lambda a: [
        a["Directory"],
        a["AssetRegistry"],
        a["Shares"],
        a["AssetTimelock"],
        a["AssetGovernor"],
        a["ComplianceGate"],
    ],
    "BreachBook": lambda a: [a["Directory"], a["AssetRegistry"], a["PlanBook"], a["License"]],
    # It makes the code that its series are clones of.
    "Credits": lambda a: [a["Directory"], a["AssetRegistry"], a["PlanBook"]],
    # Its arguments are the distribution; see `place`.
    "NetworkToken": lambda a: [],
    "ProtocolGovernor": lambda a: [a["NetworkToken"], a["AccessManager"]],
    "TestUSD": lambda a: [],
}
LISTED: Final = (
    "AssetRegistry",
    "PlanBook",
    "License",
    "LicenseSale",
    "RevenueRouter",
    "UsageEscrow",
    "Market",
    "SharesFactory",
    "BreachBook",
    "ComplianceGate",
    "MirrorBook",
    "Credits",
)


def _salt(deployer: str, name: str, generation: int) -> bytes:
    return keccak(bytes.fromhex(deployer[2:]) + f"licet/{generation}/{name}".encode())


def _address(salt: bytes, init_code: bytes) -> str:
    """EIP-1014."""
    packed = b"\xff" + bytes.fromhex(CREATE2_DEPLOYER[2:]) + salt + keccak(init_code)
    return to_checksum_address(keccak(packed)[-20:])


def place(deployer: str, *, with_test_money: bool, distribution: Distribution) -> dict[str, Placed]:
    """Every contract that this deployer puts on a chain, in order.

    Another distribution is another network token and governor, at other addresses.
    """
    addresses: Addresses = {"deployer": deployer}
    placed: dict[str, Placed] = {}
    for name, arguments in _ARGUMENTS.items():
        if name == "TestUSD" and not with_test_money:
            continue
        given = arguments(addresses)
        if name == "NetworkToken":
            given = [list(distribution), list(distribution.values())]
        placed[name] = _placed(name, given, addresses, GENERATION)
        addresses[name] = placed[name].address
    return placed


def placed_at(name: str, addresses: Addresses, generation: int) -> Placed:
    """A contract of a later generation. `addresses` has what its constructor takes, and the deployer's."""
    return _placed(name, _ARGUMENTS[name](addresses), addresses, generation)


def _placed(name: str, given: list[Any], addresses: Addresses, generation: int) -> Placed:
    artifact, salt = load(name), _salt(addresses["deployer"], name, generation)
    init_code = artifact.init_code(given, addresses)
    return Placed(artifact, _address(salt, init_code), salt, init_code)
