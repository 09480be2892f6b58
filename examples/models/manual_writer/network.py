"""The generator's network, trained in numpy: the last tokens' vectors, one hidden layer, the next token.

After Bengio et al., "A Neural Probabilistic Language Model" (2003), with Adam (Kingma and Ba, 2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Tokens = NDArray[np.int64]

CONTEXT = 4
WIDTH = 48
HIDDEN = 256
BATCH = 512
PASSES = 4
PEAK_RATE = 3e-3
DROPPED = 0.25
BETA1, BETA2, TINY = 0.9, 0.98, 1e-8


@dataclass(frozen=True, slots=True)
class Weights:
    """`vectors: [tokens, WIDTH]`; `inward: [CONTEXT * WIDTH, HIDDEN]`; `outward: [HIDDEN, tokens]`; their biases."""

    vectors: Floats
    inward: Floats
    inward_bias: Floats
    outward: Floats
    outward_bias: Floats

    def all(self) -> list[Floats]:
        """Every array, in a fixed order."""
        return [self.vectors, self.inward, self.inward_bias, self.outward, self.outward_bias]


def started(tokens: int, seed: int) -> Weights:
    """Weights before training."""
    random = np.random.default_rng(seed)

    def drawn(rows: int, columns: int, scale: float) -> Floats:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    return Weights(
        vectors=drawn(tokens, WIDTH, 0.5),
        inward=drawn(CONTEXT * WIDTH, HIDDEN, 1 / math.sqrt(CONTEXT * WIDTH)),
        inward_bias=np.zeros(HIDDEN, np.float32),
        outward=drawn(HIDDEN, tokens, 0.5 / math.sqrt(HIDDEN)),
        outward_bias=np.zeros(tokens, np.float32),
    )


def windows(texts: list[list[int]], begin: int) -> tuple[Tokens, Tokens]:
    """What precedes each token, `[cases, CONTEXT]` with -1 where nothing does, and the token itself, `[cases]`.

    Texts begin with `begin`, which is given and never asked for.
    """
    before, after = [], []
    for text in texts:
        padded = np.array([-1] * (CONTEXT - 1) + [begin, *text], np.int64)
        before.append(np.lib.stride_tricks.sliding_window_view(padded[:-1], CONTEXT))
        after.append(padded[CONTEXT:])
    return np.concatenate(before), np.concatenate(after)


def hidden(weights: Weights, before: Tokens) -> tuple[Floats, Floats]:
    """The vectors of the context, `[cases, CONTEXT * WIDTH]`, and the hidden layer, `[cases, HIDDEN]`."""
    looked_up = weights.vectors[before]
    looked_up[before < 0] = 0
    x = looked_up.reshape(len(before), -1)
    return x, np.tanh(x @ weights.inward + weights.inward_bias)


def log_shares(weights: Weights, before: Tokens) -> Floats:
    """Log-probabilities of every next token, `[cases, tokens] float32`."""
    _, h = hidden(weights, before)
    logits = h @ weights.outward + weights.outward_bias
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), np.float32)


def loss(weights: Weights, before: Tokens, after: Tokens) -> float:
    """Mean negative log-likelihood in nats a token."""
    parts = [
        log_shares(weights, before[i : i + BATCH])[np.arange(len(after[i : i + BATCH])), after[i : i + BATCH]]
        for i in range(0, len(after), BATCH)
    ]
    return float(-np.concatenate(parts).astype(np.float64).mean())


def train(before: Tokens, after: Tokens, tokens: int, seed: int) -> Weights:
    """Trained weights; the same cases and seed give the same, as far as the machine's arithmetic does."""
    random = np.random.default_rng(seed)
    weights = started(tokens, seed)
    arrays = weights.all()
    firsts, seconds = ([np.zeros_like(a) for a in arrays] for _ in range(2))
    steps = PASSES * (len(after) // BATCH)
    order = np.concatenate(
        [random.permutation(len(after))[: len(after) // BATCH * BATCH] for _ in range(PASSES)]
    )
    for step in range(steps):
        chosen = order[step * BATCH : (step + 1) * BATCH]
        gradients = _gradients(weights, before[chosen], after[chosen], random)
        warm = min(1.0, (step + 1) / 100)
        rate = PEAK_RATE * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for index, gradient in enumerate(gradients):
            firsts[index] += (1 - BETA1) * (gradient - firsts[index])
            seconds[index] += (1 - BETA2) * (gradient * gradient - seconds[index])
            unbiased = seconds[index] / (1 - BETA2 ** (step + 1))
            arrays[index] -= (rate / (1 - BETA1 ** (step + 1))) * firsts[index] / (np.sqrt(unbiased) + TINY)
    return weights


def _gradients(weights: Weights, before: Tokens, after: Tokens, random: np.random.Generator) -> list[Floats]:
    """Of the mean loss, in the order of `Weights.all`; a share of the hidden layer is dropped."""
    count = len(after)
    x, h = hidden(weights, before)
    kept = (random.random(h.shape, np.float32) >= DROPPED).astype(np.float32) / (1 - DROPPED)
    seen = h * kept
    logits = seen @ weights.outward + weights.outward_bias
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits)
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(count), after] -= 1
    shares /= count
    back = (shares @ weights.outward.T) * kept * (1 - h * h)
    into = (back @ weights.inward.T).reshape(count, CONTEXT, WIDTH)
    vectors = np.zeros_like(weights.vectors)
    present = before >= 0
    np.add.at(vectors, before[present], into[present])
    return [vectors, x.T @ back, back.sum(axis=0), seen.T @ shares, shares.sum(axis=0)]
