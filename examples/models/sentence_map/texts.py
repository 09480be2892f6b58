"""Short English texts with a label, to measure embeddings on: docstrings of the standard library by package.

A few texts of each package are labelled, all others are asked for: what a user with few examples has.
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    "asyncio",
    "calendar",
    "email",
    "http",
    "importlib",
    "logging",
    "multiprocessing",
    "statistics",
    "tarfile",
    "tkinter",
    "unittest",
    "urllib",
    "wsgiref",
    "xml",
    "zipfile",
)
LABELLED = 5
MIN_CHARS, MAX_CHARS = 30, 400


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts and the numbers of their packages."""

    texts: list[str]
    labels: list[int]


@dataclass(frozen=True, slots=True)
class Split:
    """The few that are labelled and those that are asked for."""

    labelled: Texts
    asked: Texts


def load() -> Split:
    """The same split for the same Python: by the texts' own digests."""
    split = Split(Texts([], []), Texts([], []))
    of_each = [set(_docstrings(package)) for package in PACKAGES]
    packages = Counter(text for texts in of_each for text in texts)
    for label, texts in enumerate(of_each):
        # What two packages say is nobody's, and would be asked for after it was labelled.
        alone = [text for text in texts if packages[text] == 1]
        found = sorted(alone, key=lambda text: hashlib.sha256(text.encode()).digest())
        for part, chosen in ((split.labelled, found[:LABELLED]), (split.asked, found[LABELLED:])):
            part.texts.extend(chosen)
            part.labels.extend([label] * len(chosen))
    return split


def _docstrings(package: str) -> Iterator[str]:
    base = Path(sysconfig.get_path("stdlib"))
    files = sorted((base / package).rglob("*.py")) or [base / f"{package}.py"]
    for file in files:
        if "test" in file.parts or "tests" in file.parts or not file.is_file():
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                text = " ".join((ast.get_docstring(node) or "").split())
                # A text that names its package would be no question.
                if MIN_CHARS <= len(text) <= MAX_CHARS and package not in text.lower():
                    yield text
