"""tidy finds what it should, and its baseline moves in one direction only."""

from __future__ import annotations

import textwrap

import pytest

from tools.tidy import Finding, check_file, compare, shrink


def rules(name: str, text: str) -> list[str]:
    return [finding.rule for finding in check_file(name, textwrap.dedent(text))]


def test_function_of_71_lines_is_too_long_and_70_is_not() -> None:
    def module(lines: int) -> str:
        return '"""Doc."""\ndef _f():\n' + "    x = 1\n" * (lines - 1)

    assert rules("libs/kit/src/a.py", module(70)) == []
    assert rules("libs/kit/src/a.py", module(71)) == ["function-size"]


def test_function_inside_a_method_is_measured_too() -> None:
    body = "            x = 1\n" * 70
    text = f'"""Doc."""\nclass _A:\n    def f(self):\n        def g():\n{body}'

    assert rules("services/a/x.py", text) == ["function-size", "function-size"]


def test_module_of_401_lines_is_too_long() -> None:
    assert rules("infra/a.py", '"""Doc."""\n' + "x = 1\n" * 400) == ["module-size"]
    assert rules("infra/a.py", '"""Doc."""\n' + "x = 1\n" * 399) == []


@pytest.mark.parametrize("name", ["libs/kit/src/utils.py", "services/a/helpers/b.py", "tools/manager.py"])
def test_names_that_say_nothing_are_refused(name: str) -> None:
    assert "module-name" in rules(name, '"""Doc."""\n')


def test_public_function_of_a_domain_needs_a_docstring() -> None:
    text = """
        '''Doc.'''
        def price(x):
            return x
        def _private(x):
            return x
        class Open:
            def close(self):
                return None
        class _Hidden:
            def close(self):
                return None
        class Clock(Protocol):
            def now(self) -> int: ...
    """

    assert rules("services/billing/src/licet_billing/domain.py", text) == ["docstring", "docstring"]
    assert rules("services/billing/src/licet_billing/domain/rating.py", text) == ["docstring", "docstring"]
    assert rules("services/billing/src/licet_billing/db.py", text) == []


def test_everything_is_caught_at_the_edges_only() -> None:
    text = """
        '''Doc.'''
        try:
            pass
        except (ValueError, Exception):
            pass
    """

    assert rules("services/billing/src/licet_billing/usecases.py", text) == ["blind-except"]
    assert rules("services/billing/src/licet_billing/consumers.py", text) == []
    assert rules("services/billing/src/licet_billing/api/routes.py", text) == []


def test_handler_that_lets_the_error_go_on_is_no_blind_except() -> None:
    text = """
        '''Doc.'''
        try:
            pass
        except BaseException:
            print()
            raise
    """

    assert rules("services/billing/src/licet_billing/usecases.py", text) == []


def test_machine_paths_and_registry_hosts_are_found_in_any_text_file() -> None:
    home, host = "/ho" + "me/ann/licet", "https://pypi.o" + "rg/simple"

    assert rules("docs/guide.md", f"cd {home}") == ["machine-path"]
    assert rules("requirements.lock", f"--index-url {host}") == ["registry-host"]
    assert rules("docs/guide.md", "cd ~/licet && cat services/work/x") == []


def test_finding_beyond_the_baseline_is_wrong() -> None:
    found = [Finding("module-size", "a.py", 420, "a.py: 420 lines")]

    assert compare(found, {"module-size a.py": 420}) == []
    assert compare(found, {"module-size a.py": 410}) == ["a.py: 420 lines (was 410)"]
    assert compare(found, {}) == ["a.py: 420 lines"]


def test_improvement_has_to_be_written_down() -> None:
    found = [Finding("module-size", "a.py", 410, "a.py: 410 lines")]

    assert "improved" in compare(found, {"module-size a.py": 420})[0]
    assert "improved" in compare([], {"module-size a.py": 420})[0]


def test_shrinking_lowers_and_removes_and_never_adds() -> None:
    found = [Finding("module-size", "a.py", 410, ""), Finding("module-size", "b.py", 500, "")]
    baseline = {"module-size a.py": 420, "module-size gone.py": 450, "module-size b.py": 460}

    assert shrink(found, baseline) == {"module-size a.py": 410, "module-size b.py": 460}
    assert shrink(found, {}) == {}
