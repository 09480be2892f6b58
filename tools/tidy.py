"""House rules as a ratchet: nothing crosses a limit, and what did before may only shrink.

`tools/tidy.py` checks; `tools/tidy.py --shrink` lowers `tidy.baseline.json` to what is left of it, never raises it.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
BASELINE = Path(__file__).with_name("tidy.baseline.json")

MAX_FUNCTION_LINES = 70
MAX_MODULE_LINES = 400
FORBIDDEN_NAMES = {"utils", "util", "helper", "helpers", "common", "manager", "managers", "misc"}
GENERATED = ("libs/schemas/src/licet_schemas/licet/",)
# Public functions need a docstring where others build on them.
DOCUMENTED = re.compile(r"(^|/)(domain|usecases)(/|\.py$)|^libs/(kit|sdk)/src/")
# The three edges at which anything may be caught: a message, a request, a process; and a fuzzer, which looks for it.
EDGES = re.compile(
    r"(^|/)(consumers|api|main|__main__)(/|\.py$)|^libs/kit/src/licet_kit/(kafka|cli|health|lifecycle|testing)"
    r"|(^|/)fuzz/"
)
TESTS = re.compile(r"(^|/)tests/|^e2e/")
BLIND = {"Exception", "BaseException"}
# Split, so that this file does not contain what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:ho" r"me/\w+|ro" r"ot/|wo" r"rk/|Us" r"ers/\w+)")
REGISTRIES = re.compile(
    r"(?:files\.python"
    r"hosted|pypi\.o"
    r"rg|registry\.np"
    r"mjs|repo1?\.maven|repo\.maven|ghcr\."
    r"io|docker\.i"
    r"o)"
)
TEXT_LIMIT_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule. `size` is what the baseline compares: lines, or 1 for a rule without a measure."""

    rule: str
    place: str
    size: int
    text: str

    @property
    def key(self) -> str:
        """Identity that survives moved lines."""
        return f"{self.rule} {self.place}"


def project_files() -> list[str]:
    """Every file that git tracks or would track, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def check_file(name: str, text: str) -> Iterator[Finding]:
    """Every finding in one file; `name` is relative to the root."""
    yield from check_text(name, text)
    if name.endswith(".py") and not name.startswith(GENERATED):
        yield from check_module(name, text)


def check_text(name: str, text: str) -> Iterator[Finding]:
    """Machine paths and registry hosts: a repository builds anywhere, from any mirror."""
    for number, line in enumerate(text.splitlines(), 1):
        for rule, pattern in (("machine-path", MACHINE_PATH), ("registry-host", REGISTRIES)):
            if found := pattern.search(line):
                yield Finding(rule, f"{name}:{found[0]}", 1, f"{name}:{number}: contains {found[0]}")


def check_module(name: str, text: str) -> Iterator[Finding]:
    """Names, sizes, docstrings and blind excepts of one Python module."""
    tree = ast.parse(text, filename=name)
    lines = len(text.splitlines())
    if lines > MAX_MODULE_LINES:
        yield Finding("module-size", name, lines, f"{name}: {lines} lines, {MAX_MODULE_LINES} at most")
    for word in FORBIDDEN_NAMES & {part.removesuffix(".py") for part in PurePosixPath(name).parts}:
        yield Finding("module-name", name, 1, f"{name}: say what is in it instead of {word!r}")
    if tree.body and not ast.get_docstring(tree) and not TESTS.search(name):
        yield Finding("module-docstring", name, 1, f"{name}: the module has no docstring")
    yield from _functions(name, tree, prefix="")
    if not EDGES.search(name) and not TESTS.search(name):
        yield from _blind_excepts(name, tree)


def _functions(name: str, node: ast.AST, prefix: str) -> Iterator[Finding]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _functions(name, child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _function(name, child, prefix)
            yield from _functions(name, child, f"{prefix}{child.name}.<locals>.")
        else:
            yield from _functions(name, child, prefix)


def _function(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, prefix: str) -> Iterator[Finding]:
    place, where = f"{name}::{prefix}{node.name}", f"{name}:{node.lineno}"
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if lines > MAX_FUNCTION_LINES:
        yield Finding(
            "function-size",
            place,
            lines,
            f"{where}: {node.name} has {lines} lines, {MAX_FUNCTION_LINES} at most",
        )
    public = (
        not any(part.startswith("_") for part in (prefix + node.name).split(".")) and "<locals>" not in prefix
    )
    if public and DOCUMENTED.search(name) and not ast.get_docstring(node) and not _declared(node):
        yield Finding("docstring", place, 1, f"{where}: public function {node.name} has no docstring")


def _declared(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether something else documents it: it is an overload, an override, or a protocol's bare signature."""
    if ast.unparse(node.body[-1]) == "...":
        return True
    return any(
        ast.unparse(item).rpartition(".")[2] in {"overload", "override"} for item in node.decorator_list
    )


def _blind_excepts(name: str, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = (
            set()
            if node.type is None
            else {part.id for part in ast.walk(node.type) if isinstance(part, ast.Name)}
        )
        if (node.type is None or caught & BLIND) and not _raises_last(node.body):
            where = f"{name}:{node.lineno}"
            yield Finding("blind-except", name, 1, f"{where}: catches everything, which only the edges may")


def _raises_last(body: list[ast.stmt]) -> bool:
    """Whether the handler only cleans up and lets the error go on."""
    return isinstance(body[-1], ast.Raise)


def compare(findings: Iterable[Finding], baseline: dict[str, int]) -> list[str]:
    """What is wrong: findings that the baseline does not allow, and entries of it that are no longer needed."""
    sizes = worst(findings)
    wrong = [
        finding.text + (f" (was {baseline[key]})" if key in baseline else "")
        for key, finding in sizes.items()
        if finding.size > baseline.get(key, 0)
    ]
    slack = [key for key, size in baseline.items() if key not in sizes or sizes[key].size < size]
    return [*wrong, *(f"{key} improved: lower it with tools/tidy.py --shrink" for key in slack)]


def worst(findings: Iterable[Finding]) -> dict[str, Finding]:
    """The largest finding of each key."""
    sizes: dict[str, Finding] = {}
    for finding in findings:
        if finding.key not in sizes or sizes[finding.key].size < finding.size:
            sizes[finding.key] = finding
    return sizes


def shrink(findings: Iterable[Finding], baseline: dict[str, int]) -> dict[str, int]:
    """The baseline with every entry lowered to what is there now; none is added, none raised."""
    sizes = worst(findings)
    return {key: min(size, sizes[key].size) for key, size in sorted(baseline.items()) if key in sizes}


def every_finding() -> list[Finding]:
    """All findings in the repository."""
    found: list[Finding] = []
    for name in project_files():
        body = (ROOT / name).read_bytes()
        if len(body) < TEXT_LIMIT_BYTES and b"\0" not in body:
            found.extend(check_file(name, body.decode(errors="replace")))
    return found


def main(argv: list[str]) -> int:
    """Check, or shrink the baseline; non-zero if a rule is broken."""
    baseline: dict[str, int] = json.loads(BASELINE.read_text())
    findings = every_finding()
    if "--shrink" in argv:
        baseline = shrink(findings, baseline)
        BASELINE.write_text(json.dumps(baseline, indent=2) + "\n")
    wrong = compare(findings, baseline)
    print("\n".join(wrong) if wrong else f"tidy: {len(baseline)} old findings left")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
