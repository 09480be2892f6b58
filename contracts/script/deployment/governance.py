"""Roles: how the deployment sets them, hands them to the timelock, and reads them back.

| role | id | may |
|---|---|---|
| admin | 0 | grant roles, say which role a function needs |
| directory | 1 | list contracts, retire them |
| parameter | 2 | schedule the exit delay, correct reports |
| protocol | 3 | schedule the protocol fee, pause entries for a while, bound how long credentials last |
| reporter | 4 | say who owns assets on other chains |

All but the protocol's end with the timelock, beside which only the named reporters have a role; the protocol's
ends with the governor of the network token. Both wait as long as an exit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from eth_utils.crypto import keccak
from web3 import Web3
from web3.contract import Contract

from deployment.layout import LISTED, ZERO_ADDRESS, Distribution, Placed
from deployment.sender import Sender

ADMIN, DIRECTORY, PARAMETER, PROTOCOL, REPORTER = 0, 1, 2, 3, 4
_ROLE_NAMES: Final = {
    ADMIN: "admin",
    DIRECTORY: "directory",
    PARAMETER: "parameter",
    PROTOCOL: "protocol",
    REPORTER: "reporter",
}
_TIMELOCKS: Final = (ADMIN, DIRECTORY, PARAMETER, REPORTER)
RESTRICTED: Final = {
    ("Directory", "list(bytes32,address)"): DIRECTORY,
    ("Directory", "advance(address,uint8)"): DIRECTORY,
    ("UsageEscrow", "setExitDelay(uint64)"): PARAMETER,
    ("UsageEscrow", "setDisputeTime(uint64)"): PARAMETER,
    ("RevenueRouter", "setFee(uint16)"): PROTOCOL,
    ("Directory", "pauseEntry(address,uint64)"): PROTOCOL,
    ("ComplianceGate", "setLongestTerm(uint64)"): PROTOCOL,
    ("MirrorBook", "report(bytes32,address,uint64,bytes32)"): REPORTER,
    ("MirrorBook", "correct(bytes32,address,uint64,bytes32)"): PARAMETER,
}
_TIMELOCK_ROLES: Final = {
    "DEFAULT_ADMIN_ROLE": b"\0" * 32,
    "PROPOSER_ROLE": keccak(text="PROPOSER_ROLE"),
    "CANCELLER_ROLE": keccak(text="CANCELLER_ROLE"),
    "EXECUTOR_ROLE": keccak(text="EXECUTOR_ROLE"),
}
_CALL_GAS: Final = 300_000
_NO_SALT: Final = b"\0" * 32
_STATUS_NONE: Final = 0
INITIAL_FEE_BP: Final = 100
# For how long what a settlement drew is held; its payers look at their receipts once a day.
DEFAULT_DISPUTE_TIME_S: Final = 24 * 3600


class RoleTableWrong(Exception):
    """The chain's roles or settings are not what the deployment leaves behind."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the deployment is asked for, beside the contracts."""

    exit_delay_s: int
    distribution: Distribution
    mirror_reporters: tuple[str, ...] = ()
    dispute_time_s: int = DEFAULT_DISPUTE_TIME_S


@dataclass(frozen=True, slots=True)
class _Step:
    label: str
    is_done: Callable[[], bool]
    call: Any


class Governance:
    """Roles and settings of one deployment."""

    def __init__(self, w3: Web3, placed: dict[str, Placed], terms: Terms, from_block: int) -> None:
        """`from_block` is not above the block of the deployment; logs are read from it on."""
        self._w3 = w3
        self._placed = placed
        self._exit_delay_s = terms.exit_delay_s
        self._dispute_time_s = terms.dispute_time_s
        self._reporters = terms.mirror_reporters
        self._from_block = from_block
        self._manager = self._contract("AccessManager")
        self._timelock = self._contract("TimelockController")
        self._directory = self._contract("Directory")
        self._escrow = self._contract("UsageEscrow")
        self._router = self._contract("RevenueRouter")
        self._token = self._contract("NetworkToken")
        self._distribution = terms.distribution

    def _contract(self, name: str) -> Contract:
        placed = self._placed[name]
        return self._w3.eth.contract(
            address=Web3.to_checksum_address(placed.address), abi=placed.artifact.abi
        )

    def configure(self, sender: Sender) -> None:
        """Sends every step that is not done yet, in order. Safe to repeat after a crash."""
        me = sender.address
        settings = [step for step in self._settings() if not step.is_done()]
        steps = [step for step in self._role_of_functions() if not step.is_done()]
        if settings:
            steps += [self._grant(role, me) for role in (DIRECTORY, PARAMETER)] + settings
        steps += [step for step in self._hand_over() if not step.is_done()]
        if steps and not self._has_role(ADMIN, me):
            labels = ", ".join(step.label for step in steps)
            raise RoleTableWrong(f"missing, and only the timelock could still do it: {labels}")
        held = {role for role in _ROLE_NAMES if self._has_role(role, me)}
        held |= {DIRECTORY, PARAMETER} if settings else set()
        steps += [self._renounce(role, me) for role in sorted(held, reverse=True)]
        for step in steps:
            sender.send(step.label, step.call.address, step.call._encode_transaction_data(), _CALL_GAS)
        sender.flush()

    def _has_role(self, role: int, account: str) -> bool:
        return bool(self._manager.functions.hasRole(role, account).call()[0])

    def _grant(self, role: int, account: str, delay_s: int = 0) -> _Step:
        call = self._manager.functions.grantRole(role, account, delay_s)
        return _Step(f"grant {_ROLE_NAMES[role]} to {account}", lambda: self._has_role(role, account), call)

    def _renounce(self, role: int, account: str) -> _Step:
        call = self._manager.functions.renounceRole(role, account)
        return _Step(f"renounce {_ROLE_NAMES[role]}", lambda: not self._has_role(role, account), call)

    def _function_role(self, name: str, signature: str) -> int:
        selector = keccak(text=signature)[:4]
        read = self._manager.functions.getTargetFunctionRole(self._placed[name].address, selector)
        return int(read.call())

    def _role_of_functions(self) -> list[_Step]:
        steps = []
        for (name, signature), role in RESTRICTED.items():
            selectors = [keccak(text=signature)[:4]]
            call = self._manager.functions.setTargetFunctionRole(self._placed[name].address, selectors, role)

            def is_done(name: str = name, signature: str = signature, role: int = role) -> bool:
                return self._function_role(name, signature) == role

            steps.append(_Step(f"{name}.{signature} needs {_ROLE_NAMES[role]}", is_done, call))
        return steps

    def _settings(self) -> list[_Step]:
        steps = []
        for name in LISTED:
            address = self._placed[name].address
            call = self._directory.functions.list(name.encode().ljust(32, b"\0"), address)

            def is_done(address: str = address) -> bool:
                return bool(self._directory.functions.statusOf(address).call() != _STATUS_NONE)

            steps.append(_Step(f"list {name}", is_done, call))
        # The contract lets the first value of each hold at once; it must not be left for later.
        delay = self._escrow.functions.setExitDelay(self._exit_delay_s)
        dispute = self._escrow.functions.setDisputeTime(self._dispute_time_s)
        steps.append(
            _Step(f"exit delay {self._exit_delay_s} s", lambda: self._was_set("ExitDelaySet"), delay)
        )
        steps.append(
            _Step(f"dispute time {self._dispute_time_s} s", lambda: self._was_set("DisputeTimeSet"), dispute)
        )
        return steps

    def _was_set(self, event: str) -> bool:
        return bool(self._escrow.events[event]().get_logs(from_block=self._from_block))

    def _hand_over(self) -> list[_Step]:
        """The timelock waits as long as an exit, and gets every role but the governor's, which waits in the manager."""
        timelock = self._timelock
        data = timelock.functions.updateDelay(self._exit_delay_s)._encode_transaction_data()
        operation = [timelock.address, 0, data, _NO_SALT, _NO_SALT]

        def delay_is_set() -> bool:
            return int(timelock.functions.getMinDelay().call()) != 0

        wait = timelock.functions.schedule(*operation, 0)
        apply = timelock.functions.execute(*operation)
        steps = [
            _Step(
                "schedule the timelock's delay", lambda: delay_is_set() or self._is_scheduled(operation), wait
            ),
            _Step("set the timelock's delay", delay_is_set, apply),
        ]
        steps.append(self._grant(PROTOCOL, self._governor, self._exit_delay_s))
        steps += [self._grant(role, timelock.address) for role in _TIMELOCKS]
        return steps + [self._grant(REPORTER, account) for account in self._reporters]

    @property
    def _governor(self) -> str:
        return Web3.to_checksum_address(self._placed["ProtocolGovernor"].address)

    def _is_scheduled(self, operation: list[Any]) -> bool:
        functions = self._timelock.functions
        return bool(functions.isOperation(functions.hashOperation(*operation).call()).call())

    def read_back(self, deployer: str) -> dict[str, Any]:
        """The role table as the chain has it. Raises RoleTableWrong where it is not what it must be."""
        found = {
            "roles": {name: self._members(role) for role, name in _ROLE_NAMES.items()},
            "functions": {f"{n}.{s}": self._function_role(n, s) for n, s in RESTRICTED},
            "timelock": {name: self._timelock_members(role) for name, role in _TIMELOCK_ROLES.items()},
            "timelock_delay_s": self._timelock.functions.getMinDelay().call(),
            "governor_delay_s": self._manager.functions.hasRole(PROTOCOL, self._governor).call()[1],
            "network_token": self._distributed(),
            "exit_delay_s": self._escrow.functions.exitDelay().call(),
            "dispute_time_s": self._escrow.functions.disputeTime().call(),
            "fee_bp": self._router.functions.feeBp().call(),
            "treasury": self._router.functions.treasury().call(),
            "listed": {name: self._listed(name) for name in LISTED},
            "closed_targets": [n for n in self._placed if self._is_closed(n)],
        }
        timelock = self._timelock.address
        expected = {
            "roles": {name: [timelock] for name in _ROLE_NAMES.values()}
            | {"protocol": [self._governor], "reporter": sorted([timelock, *self._reporters])},
            "functions": {f"{n}.{s}": role for (n, s), role in RESTRICTED.items()},
            "timelock": {
                "DEFAULT_ADMIN_ROLE": [timelock],
                "PROPOSER_ROLE": [deployer],
                "CANCELLER_ROLE": [deployer],
                "EXECUTOR_ROLE": [Web3.to_checksum_address(ZERO_ADDRESS)],
            },
            "timelock_delay_s": self._exit_delay_s,
            "governor_delay_s": self._exit_delay_s,
            "network_token": {account: str(amount) for account, amount in self._distribution.items()},
            "exit_delay_s": self._exit_delay_s,
            "dispute_time_s": self._dispute_time_s,
            "fee_bp": INITIAL_FEE_BP,
            "treasury": timelock,
            "listed": {name: self._placed[name].address for name in LISTED},
            "closed_targets": [],
        }
        wrong = [
            f"{key}: {found[key]} instead of {expected[key]}"
            for key in expected
            if found[key] != expected[key]
        ]
        if wrong:
            raise RoleTableWrong("; ".join(wrong))
        return found

    def _distributed(self) -> dict[str, str]:
        """Who got the network token when it was made, whoever has it now."""
        logs = self._token.events.Transfer().get_logs(
            from_block=self._from_block, argument_filters={"from": ZERO_ADDRESS}
        )
        return {log["args"]["to"]: str(log["args"]["value"]) for log in logs}

    def _listed(self, name: str) -> str:
        return str(self._directory.functions.activeOf(name.encode().ljust(32, b"\0")).call())

    def _is_closed(self, name: str) -> bool:
        return bool(self._manager.functions.isTargetClosed(self._placed[name].address).call())

    def _members(self, role: int) -> list[str]:
        """Everyone who was ever granted the role and has it; the manager keeps no list of its own."""
        logs = self._manager.events.RoleGranted().get_logs(
            from_block=self._from_block, argument_filters={"roleId": role}
        )
        return sorted(
            {log["args"]["account"] for log in logs if self._has_role(role, log["args"]["account"])}
        )

    def _timelock_members(self, role: bytes) -> list[str]:
        logs = self._timelock.events.RoleGranted().get_logs(
            from_block=self._from_block, argument_filters={"role": role}
        )
        accounts = {log["args"]["account"] for log in logs}
        return sorted(a for a in accounts if self._timelock.functions.hasRole(role, a).call())
