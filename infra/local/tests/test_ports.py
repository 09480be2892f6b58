"""Ports: the default if it is free, the next one if not, distances kept."""

from __future__ import annotations

import socket

import pytest

from infra.local.ports import HIGHEST, LOOPBACK, NoFreePort, Ports, choose, is_free
from infra.local.profile import DEFAULT_PORTS, Profile

DEFAULTS: dict[str, Ports] = {"a": {"http": 8000, "admin": 9000}, "b": {"http": 8010, "admin": 9010}}


def test_defaults_are_taken_when_they_are_free() -> None:
    assert choose(DEFAULTS, {}, free=lambda port: True) == DEFAULTS


def test_all_ports_of_a_part_move_when_one_is_taken() -> None:
    chosen = choose(DEFAULTS, {}, free=lambda port: port != 9000)

    assert chosen["a"]["admin"] - chosen["a"]["http"] == 1000
    assert chosen["a"]["http"] not in {8000, 8010}
    assert chosen["b"] == DEFAULTS["b"]


def test_ports_of_the_last_run_go_before_the_defaults() -> None:
    kept = {"a": {"http": 8500, "admin": 9500}}

    assert choose(DEFAULTS, kept, free=lambda port: True)["a"] == kept["a"]
    assert choose(DEFAULTS, kept, free=lambda port: port != 8500)["a"] == DEFAULTS["a"]


def test_a_running_part_keeps_its_ports_and_nobody_moves_onto_them() -> None:
    kept = {"a": {"http": 8040, "admin": 9040}, "b": {"http": 8050, "admin": 9050}}

    chosen = choose(DEFAULTS, kept, frozenset({"b"}), free=lambda port: port not in {8000, 8040, 8050, 9050})

    assert chosen["b"] == kept["b"]
    assert chosen["a"]["http"] not in {8000, 8010, 8040, 8050}


def test_nobody_moves_onto_the_former_port_of_a_part_that_is_down() -> None:
    kept = {"b": {"http": 8020, "admin": 9020}}

    assert choose(DEFAULTS, kept, free=lambda port: port != 8000)["a"]["http"] not in {8010, 8020}


def test_ports_of_another_shape_are_forgotten() -> None:
    assert choose(DEFAULTS, {"a": {"http": 8500}}, free=lambda port: True)["a"] == DEFAULTS["a"]


def test_a_machine_without_free_ports_is_an_error() -> None:
    with pytest.raises(NoFreePort, match="no free loopback port for a"):
        choose(DEFAULTS, {}, free=lambda port: False)


def test_a_listening_port_is_not_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        assert not is_free(other.getsockname()[1])


def test_a_listener_that_shares_its_port_is_seen_and_a_closing_connection_is_not() -> None:
    """gRPC and granian listen with SO_REUSEPORT."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind((LOOPBACK, 0))
        server.listen()
        port = server.getsockname()[1]
        assert not is_free(port)
        client = socket.create_connection((LOOPBACK, port))
        accepted, _ = server.accept()
        accepted.close()  # the server's side closes first, and lingers in TIME_WAIT
    client.close()

    assert is_free(port)


@pytest.mark.parametrize("name", ["dev", "test"])
def test_default_ports_differ_from_each_other_and_from_client_ports(name: str) -> None:
    ports = [port for part in Profile.named(name, env={}).default_ports.values() for port in part.values()]

    assert len(ports) == len(set(ports))
    assert max(ports) <= HIGHEST


def test_admin_port_is_the_first_port_plus_1000() -> None:
    with_admin = [ports for ports in DEFAULT_PORTS.values() if "admin" in ports]

    assert len(with_admin) == 6
    assert all(ports["admin"] == ports["http"] + 1000 for ports in with_admin)
