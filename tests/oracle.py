"""ReaRec written a second time: numpy, one user at a time, the whole sequence again at every step.

No cache, no packing, no mask but the triangle: slow, and short enough to be checked by eye.
"""

from collections.abc import Callable
import math
from typing import Any

import numpy as np

_erf = np.vectorize(math.erf)


def layer_norm(x: np.ndarray, norm: Any, epsilon: float = 1e-12) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return scaled * norm["scale"] + norm["bias"]


def dense(x: np.ndarray, layer: Any) -> np.ndarray:
    return x @ layer["kernel"] + layer["bias"]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def encoder(
    inputs: np.ndarray,
    encoder: Any,
    heads: int,
    causal: np.ndarray,
    kind: str = "transformer",
    attention: list[np.ndarray] | None = None,
) -> np.ndarray:
    """The layers of one sequence [S, D]; ``causal`` [S, S] says who sees whom.

    Into ``attention`` go each layer's weights, the mean over heads.
    """
    x = layer_norm(inputs, encoder["input_norm"])
    for number in range(sum(name.startswith("layers_") for name in encoder)):
        layer = encoder[f"layers_{number}"]
        x, given = LAYERS[kind](x, layer, heads, causal)
        if attention is not None:
            attention.append(given)
    return x


def transformer(
    x: np.ndarray, layer: Any, heads: int, causal: np.ndarray, share: float = 1.0, mixed: Any = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Post-LayerNorm, as in BERT; what a token takes is ``share`` of attention, and ``mixed``."""
    attended, given = softmax_attention(x, layer["attention"], heads, causal)
    attended = dense(attended, layer["attention"]["output"])
    x = layer_norm(x + share * attended + mixed, layer["attention_norm"])
    hidden = dense(x, layer["feed_forward"]["expand"])
    hidden = hidden * 0.5 * (1 + _erf(hidden / math.sqrt(2)))
    fed = dense(hidden, layer["feed_forward"]["contract"])
    return layer_norm(x + fed, layer["feed_forward_norm"]), given


def filtered(
    x: np.ndarray, layer: Any, heads: int, causal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same where half of what a token takes is each channel's convolution with its taps."""
    columns = [
        np.convolve(x[:, channel], layer["taps"][:, channel])[: len(x)]
        for channel in range(x.shape[1])
    ]
    return transformer(x, layer, heads, causal, 0.5, 0.5 * np.stack(columns, axis=1))


def ligr(
    x: np.ndarray, layer: Any, heads: int, causal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pre-LayerNorm with gated residuals."""
    entered = layer_norm(x, layer["attention_norm"])
    attended, given = softmax_attention(entered, layer["attention"], heads, causal)
    attended = dense(attended, layer["attention"]["output"])
    x = x + sigmoid(dense(x, layer["attention_gate"])) * attended
    entered = layer_norm(x, layer["swiglu_norm"])
    gate, value = np.split(dense(entered, layer["swiglu"]["expand"]), 2, axis=-1)
    fed = dense(silu(gate) * value, layer["swiglu"]["contract"])
    return x + sigmoid(dense(x, layer["swiglu_gate"])) * fed, given


def hstu(
    x: np.ndarray, layer: Any, heads: int, causal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise attention, normalised by the longest length (tests/tiny.py: 6)."""
    entered = layer_norm(x, layer["norm"])
    mixed, given = [], []
    for q, k, v, bias in _by_head(silu(dense(entered, layer["attention"]["qkv"])), layer, heads):
        weights = np.where(causal, silu(q @ k.T + bias) / 6, 0)
        given.append(abs(weights) / abs(weights).sum(-1, keepdims=True))
        mixed.append(weights @ v)
    attended = layer_norm(np.concatenate(mixed, axis=-1), layer["attended_norm"])
    gated = attended * silu(dense(entered, layer["gate"]))
    return x + dense(gated, layer["output"]), np.mean(given, axis=0)


LAYERS = {"transformer": transformer, "filtered": filtered, "ligr": ligr, "hstu": hstu}


def softmax_attention(
    x: np.ndarray, attention: Any, heads: int, causal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What every token takes, before the output layer, and the mean weights of the heads."""
    mixed, given = [], []
    projected = dense(x, attention["qkv"])
    for q, k, v, bias in _by_head(projected, {"attention": attention}, heads):
        scores = q @ k.T / math.sqrt(q.shape[1]) + bias
        given.append(softmax(np.where(causal, scores, -np.inf)))
        mixed.append(given[-1] @ v)
    return np.concatenate(mixed, axis=-1), np.mean(given, axis=0)


def _by_head(projected: np.ndarray, layer: Any, heads: int) -> Any:
    """Queries, keys, values and the bias of each distance, head by head."""
    q, k, v = np.split(projected, 3, axis=-1)
    places = np.arange(len(q))
    for head, own in enumerate(np.split(np.arange(q.shape[-1]), heads)):
        bias = np.zeros(())
        if "by_distance" in layer["attention"]:
            by_distance = layer["attention"]["by_distance"][head]
            distance = places[:, None] - places[None]
            bias = by_distance[np.clip(distance, 0, len(by_distance) - 1)]
        yield q[:, own], k[:, own], v[:, own], bias


def reason(
    variables: Any,
    history: np.ndarray,
    heads: int,
    steps: int,
    noise: np.ndarray | None = None,
    bidirectional: bool = False,
    attention: list[np.ndarray] | None = None,
    kind: str = "transformer",
    finish: Callable[[np.ndarray], np.ndarray] = lambda state: state,
) -> tuple[np.ndarray, np.ndarray]:
    """r_0 .. r_K [K+1, D] of one history of item ids, and r~_1 .. r~_K where noise [K, D] is given.

    Every step encodes the lengthened sequence in full. Into ``attention`` go the last layer's
    weights of the last token at each step (of the noisy view too). Each state passes ``finish``.
    """
    encoded = _encode(variables, history, heads, kind, bidirectional, attention)

    def encode(own: list[np.ndarray]) -> np.ndarray:
        return finish(encoded(own))

    embeddings = _embeddings(variables, steps)
    states, noisy, own, noisy_own = [encode([])], [], [], []
    for k in range(steps):
        own.append(states[-1] + embeddings[k])
        states.append(encode(own))
        if noise is not None:
            noisy_own.append(own[-1] + noise[k])
            noisy.append(encode(noisy_own))
    return np.stack(states), np.array(noisy)


def _encode(
    variables: Any,
    history: np.ndarray,
    heads: int,
    kind: str,
    bidirectional: bool = False,
    attention: list[np.ndarray] | None = None,
) -> Any:
    """The state of the last token of a history that is lengthened by reasoning tokens."""
    params = _float64(variables["params"])
    own_encoder = params["encoder"]
    items = params["items"]["table"][history] + own_encoder["position"][: len(history)]

    def encode(own: list[np.ndarray]) -> np.ndarray:
        visible = np.tri(len(items) + len(own), dtype=bool)
        if bidirectional:
            visible[: len(items), : len(items)] = True
        given: list[np.ndarray] = []
        tokens = np.stack([*items, *own])
        state = encoder(tokens, own_encoder, heads, visible, kind, given)[-1]
        if attention is not None:
            attention.append(given[-1][-1])
        return state

    return encode


def _embeddings(variables: Any, steps: int) -> np.ndarray:
    own_encoder = _float64(variables["params"]["encoder"])
    width = own_encoder["position"].shape[1]
    return own_encoder.get("reasoning_position", np.zeros((steps, width)))


def plr(
    variables: Any, history: np.ndarray, heads: int, steps: int, kind: str = "transformer"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parallel streams: r_0 .. r_K, h_km [K, M, D], and r_0 + z. One stream after the other."""
    encode, embeddings = _encode(variables, history, heads, kind), _embeddings(variables, steps)
    weights = _float64(variables["params"]["encoder"])
    first, streams = encode([]), []
    for trigger in weights["triggers"]:
        own: list[np.ndarray] = []
        h = [first + trigger]
        for k in range(steps):
            own.append(h[-1] + embeddings[k])
            h.append(encode(own) + h[-1])
        streams.append(h[1:])
    found = np.stack(streams, axis=1)
    shares = softmax(first @ weights["stream_gate"])
    mixed = np.einsum("kmd,m->kd", found, shares)
    return np.stack([first, *mixed]), found, first + mixed.mean(axis=0)


def recrec(
    variables: Any, history: np.ndarray, heads: int, steps: int, kind: str = "transformer"
) -> np.ndarray:
    """Recursive reasoning: m_0 .. m_K. Two refinements a step, each a token alone."""
    encode = _encode(variables, history, heads, kind)
    weights = _float64(variables["params"]["encoder"])
    m, s = encode([]), weights["first_s"]
    found = [m]
    for _ in range(steps):
        for _ in range(2):
            s = encode([m + s])
        opened = m @ weights["gate_of_m"] + s @ weights["gate_of_s"] + weights["gate_bias"]
        g = sigmoid(opened)
        m = (1 - g) * m + g * s
        found.append(m)
    return np.stack(found)


def router(
    variables: Any, history: np.ndarray, heads: int, steps: int, kind: str = "transformer"
) -> tuple[np.ndarray, np.ndarray]:
    """The steps of ReaRec, and their gated mean."""
    states, _ = reason(variables, history, heads, steps, kind=kind)
    weights = _float64(variables["params"]["encoder"])
    shares = softmax((states * weights["trust"]).sum(-1) + weights["trust_bias"])
    return states, shares @ states


def _float64(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _float64(value) for key, value in tree.items()}
    return np.asarray(tree, np.float64)
