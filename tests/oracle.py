"""ReaRec written a second time: numpy, one user at a time, the whole sequence again at every step.

No cache, no packing, no mask but the triangle: slow, and short enough to be checked by eye.
"""

import math
from typing import Any

import numpy as np

_erf = np.vectorize(math.erf)


def layer_norm(x: np.ndarray, norm: Any, epsilon: float) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return scaled * norm["scale"] + norm["bias"]


def dense(x: np.ndarray, layer: Any) -> np.ndarray:
    return x @ layer["kernel"] + layer["bias"]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def transformer(
    inputs: np.ndarray,
    encoder: Any,
    heads: int,
    causal: np.ndarray,
    epsilon: float = 1e-12,
    attention: list[np.ndarray] | None = None,
) -> np.ndarray:
    """Post-LayerNorm encoder of one sequence [S, D]; ``causal`` [S, S] says who sees whom.

    Into ``attention`` go each layer's weights, the mean over heads.
    """
    x = layer_norm(inputs, encoder["input_norm"], epsilon)
    for number in range(sum(name.startswith("layers_") for name in encoder)):
        layer = encoder[f"layers_{number}"]
        q, k, v = np.split(dense(x, layer["attention"]["qkv"]), 3, axis=-1)
        mixed, given = [], []
        for own in np.split(np.arange(x.shape[-1]), heads):
            scores = q[:, own] @ k[:, own].T / math.sqrt(len(own))
            given.append(softmax(np.where(causal, scores, -np.inf)))
            mixed.append(given[-1] @ v[:, own])
        if attention is not None:
            attention.append(np.mean(given, axis=0))
        attended = dense(np.concatenate(mixed, axis=-1), layer["attention"]["output"])
        x = layer_norm(x + attended, layer["attention_norm"], epsilon)
        hidden = dense(x, layer["feed_forward"]["expand"])
        hidden = hidden * 0.5 * (1 + _erf(hidden / math.sqrt(2)))
        fed = dense(hidden, layer["feed_forward"]["contract"])
        x = layer_norm(x + fed, layer["feed_forward_norm"], epsilon)
    return x


def reason(
    variables: Any,
    history: np.ndarray,
    heads: int,
    steps: int,
    noise: np.ndarray | None = None,
    bidirectional: bool = False,
    attention: list[np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """r_0 .. r_K [K+1, D] of one history of item ids, and r~_1 .. r~_K where noise [K, D] is given.

    Every step encodes the lengthened sequence in full. Into ``attention`` go the last layer's
    weights of the last token at each step (of the noisy view too).
    """
    params = _float64(variables["params"])
    encoder = params["encoder"]
    width = params["items"]["table"].shape[1]
    embeddings = encoder.get("reasoning_position", np.zeros((steps, width)))
    items = params["items"]["table"][history] + encoder["position"][: len(history)]

    def encode(own: list[np.ndarray]) -> np.ndarray:
        visible = np.tri(len(items) + len(own), dtype=bool)
        if bidirectional:
            visible[: len(items), : len(items)] = True
        given: list[np.ndarray] = []
        state = transformer(np.stack([*items, *own]), encoder, heads, visible, attention=given)[-1]
        if attention is not None:
            attention.append(given[-1][-1])
        return state

    states, noisy, own, noisy_own = [encode([])], [], [], []
    for k in range(steps):
        own.append(states[-1] + embeddings[k])
        states.append(encode(own))
        if noise is not None:
            noisy_own.append(own[-1] + noise[k])
            noisy.append(encode(noisy_own))
    return np.stack(states), np.array(noisy)


def _float64(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _float64(value) for key, value in tree.items()}
    return np.asarray(tree, np.float64)
