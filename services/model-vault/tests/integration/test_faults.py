"""What one version does wrong keeps no other waiting for long, and ends no loop."""

from collections.abc import Callable
from typing import Any

import pytest
from licet_vault import telemetry
from licet_vault.domain import FactKind, pinned_name
from licet_vault.testing.harness import OWNER, Vault, second
from tritonclient.http.aio import InferenceServerClient

Break = Callable[[str, Exception, set[str]], list[str]]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Makes one of Triton's calls raise for some models; returns the list of models that it is called for."""

    def break_call(call: str, error: Exception, names: set[str]) -> list[str]:
        answer = getattr(InferenceServerClient, call)
        asked: list[str] = []

        async def ask(client: InferenceServerClient, name: str, *args: Any) -> Any:
            asked.append(name)
            if name in names:
                raise error
            return await answer(client, name, *args)

        monkeypatch.setattr(InferenceServerClient, call, ask)
        return asked

    return break_call


async def activate_other(vault: Vault, mark: str, digest: str) -> str:
    """The same manifest under another asset, behind those before in the vault's order; returns its pinned name."""
    vault.slug, vault.asset_id = f"{vault.slug}-{mark}", f"0x{mark}{vault.asset_id[3:]}"
    await vault.fact(FactKind.REGISTERED, owner=OWNER, slug=vault.slug)
    await vault.activate(digest)
    return pinned_name(vault.slug, digest)


async def test_silent_versions_are_tried_seldom_and_behind_the_others(
    vault: Vault, identity_files: dict[str, bytes], broken: Break
) -> None:
    digest = await vault.upload(identity_files)
    vault.asset_id = "0x0" + vault.asset_id[3:]
    await vault.activate(digest)
    first = pinned_name(vault.slug, digest)
    names = {first}
    asked = broken("infer", TimeoutError(), names)
    names.add(other := await activate_other(vault, "1", digest))
    good = await activate_other(vault, "2", digest)
    await vault.reconciler.step()
    assert asked == [first, other, good]

    asked.clear()
    vault.clock.advance(59)
    # Anyone may upload their own manifest once more.
    vault.reconciler.retry_now()
    await vault.reconciler.step()
    assert asked == []
    vault.clock.advance(1)
    new = await activate_other(vault, "3", digest)
    await vault.reconciler.step()
    assert asked[0] == new
    assert len(asked) == 2
    await vault.reconciler.step()
    assert set(asked[1:]) == names
    assert len(asked) == 3

    asked.clear()
    vault.clock.advance(119)
    await vault.reconciler.step()
    assert asked == []
    names.clear()
    vault.clock.advance(1)
    await vault.reconciler.step()
    await vault.reconciler.step()
    assert {m.state for m in (await vault.told())[-2:]} == {"ready"}


async def test_a_version_that_triton_does_not_let_go_of_keeps_nobody_waiting(
    vault: Vault, identity_files: dict[str, bytes], broken: Break
) -> None:
    old, new = await vault.upload(identity_files), await vault.upload(second(identity_files))
    await vault.activate(old)
    await vault.reconciler.step()
    await vault.activate(new)
    await vault.reconciler.step()
    names = {pinned_name(vault.slug, old)}
    asked = broken("unload_model", TimeoutError(), names)
    for _ in range(3):
        await vault.reconciler.step()
    assert asked.count(pinned_name(vault.slug, old)) == 1
    vault.clock.advance(3600)
    names.clear()
    await vault.reconciler.step()
    assert vault.infer(old, "INPUT0") != 200
    assert [p.name for p in vault.plaintext()] == [pinned_name(vault.slug, new)]


async def test_a_fault_that_nobody_expected_is_one_versions_own(
    vault: Vault, identity_files: dict[str, bytes], broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counted:
        times = 0

        def add(self, amount: int) -> None:
            self.times += amount

    failures = Counted()
    monkeypatch.setattr(telemetry, "FAILED", failures)
    digest = await vault.upload(identity_files)
    vault.asset_id = first = "0x0" + vault.asset_id[3:]
    await vault.activate(digest)
    bad = pinned_name(vault.slug, digest)
    asked = broken("infer", RuntimeError("a fault of ours"), {bad})
    await activate_other(vault, "1", digest)
    await vault.reconciler.step()
    await vault.reconciler.step()
    states = {m.asset_id: (m.state, m.reason) for m in await vault.told()}
    assert states == {first: ("refused", "load_failed"), vault.asset_id: ("ready", "")}
    assert (failures.times, asked.count(bad)) == (1, 1)
    assert not (vault.repository / bad).exists()
