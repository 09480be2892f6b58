"""Chooses tokens, and turns them into pieces of text as they come; pure, beside the model in Triton."""

from __future__ import annotations

import codecs
from random import Random
from typing import Any

import numpy as np


class NotFinite(Exception):
    """The model gave something else than figures."""


def choose(logits: Any, temperature: float, top_p: float, random: Random) -> int:
    """The next token, of `logits: [vocabulary] float32`: the likeliest at temperature 0, else drawn.

    Drawn from the smallest set of likeliest tokens that together have at least `top_p`.
    """
    best = int(logits.argmax())
    if not np.isfinite(logits[best]):
        raise NotFinite
    if temperature == 0:
        return best
    shares = np.exp((logits.astype(np.float64) - float(logits[best])) / temperature)
    if not np.isfinite(shares).all():
        raise NotFinite
    if top_p >= 1:
        return _drawn(np.cumsum(shares), random)
    order = np.argsort(-shares, kind="stable")
    reached = np.cumsum(shares[order])
    kept = int(np.searchsorted(reached, top_p * reached[-1])) + 1
    return int(order[_drawn(reached[:kept], random)])


def _drawn(reached: Any, random: Random) -> int:
    found = int(np.searchsorted(reached, random.random() * reached[-1], side="right"))
    return min(found, len(reached) - 1)


class Pieces:
    """The text of a stream. What may be the beginning of a stop text, or half a character, is held back."""

    def __init__(self, stops: list[str]) -> None:
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def push(self, raw: bytes) -> str:
        """The text that can be given out now; nothing comes after `stopped`."""
        return self._cut(self._decoder.decode(raw), over=False)

    def rest(self) -> str:
        """What was held back, at the end of the stream."""
        return self._cut(self._decoder.decode(b"", final=True), over=True)

    def _cut(self, text: str, *, over: bool) -> str:
        self._held += text
        found = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped = True
            out, self._held = self._held[: min(found)], ""
            return out
        keep = 0 if over else max((_overlap(self._held, stop) for stop in self._stops), default=0)
        out, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return out


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
