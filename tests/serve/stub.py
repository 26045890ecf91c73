"""A server that answers as rearec_jax's does (docs/serving.md), from made data, in a thread."""

from collections.abc import Iterator, Mapping
import contextlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import math
from pathlib import Path
import random
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

import rearec_jax

STATIC = Path(rearec_jax.__file__).parent / "serve" / "static"
KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
HOSTILE = "<img src=x onerror=\"document.title='hacked'\"><b>Bold</b> Lamp"
MODELS = {"prl": 3, "erl": 2, "base": 0, "other": 1}  # name -> reasoning steps
OTHER = "other"  # the model of another catalogue, which knows none of the items
TEMPERATURE = 0.5
COUNT = 400


def _titles() -> list[str]:
    rng = random.Random(0)
    first = ["Quiet", "Rosewater", "Brass", "Velvet", "Amber", "Coconut", "Midnight", "Cedar"]
    second = ["Shampoo", "Lamp", "Lotion", "Candle", "Nail Polish", "Soap", "Hand Cream", "Comb"]
    ends = ["", ", 250 ml", " for Dry Skin", ", Pack of 3", " by Hollow & Finch, Limited Edition"]
    titles = [f"{rng.choice(first)} {rng.choice(second)}{rng.choice(ends)}" for _ in range(COUNT)]
    titles[3] = HOSTILE
    return titles


TITLES = _titles()
ITEMS = [
    {"id": str(number), "title": title, "count": COUNT - number}
    for number, title in enumerate(TITLES)
]


def _named(id_: str) -> dict[str, Any]:
    return {"id": id_, "title": ITEMS[int(id_)]["title"]}


SAMPLES = [
    {"history": [_named(i) for i in ("3", "14", "15", "92", "65")], "target": _named("129")},
    {"history": [_named(i) for i in ("27", "18", "28")], "target": _named("1")},
]


def explain(question: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an answer whose scores depend on model and history, and sharpen with every step."""
    name = question["model"] or next(iter(MODELS))
    known = [id_ for id_ in question["history"] if id_.isdigit() and int(id_) < COUNT]
    known = [] if name == OTHER else known
    unknown = [id_ for id_ in question["history"] if id_ not in known]
    said = {"model": name, "method": name, "backbone": "sasrec", "unknown": unknown}
    said |= {"history": [_named(id_) for id_ in known]}
    k = question["k"]
    if not known:
        ids = [item["id"] for item in ITEMS[:k]]
        step = _step(0, ids, [float(ITEMS[int(id_)]["count"]) for id_ in ids])
        return said | {"by": "popularity", "steps": [step], "ranks": {}}
    last = MODELS[name] if question["steps"] is None else question["steps"]
    rng = random.Random(f"{name} {known}")
    out = {*question.get("exclude", ()), *(known if question["exclude_seen"] else ())}
    chosen = question.get("candidates") or [item["id"] for item in ITEMS]
    allowed = [i for i in map(int, chosen) if str(i) not in out]
    scores = {i: rng.gauss(0, 0.2) for i in allowed}
    steps, ranks = [], []
    for number in range(last + 1):
        order = sorted(allowed, key=lambda i: -scores[i])
        ranks.append({str(i): rank for rank, i in enumerate(order, start=1)})
        ids = [str(i) for i in order[:k]]
        steps.append(_step(number, ids, [scores[int(id_)] for id_ in ids], steps))
        steps[-1]["top_share"] = sum(shares(scores)[int(id_)] for id_ in ids)
        weights = [rng.random() ** (2 + number) for _ in known]
        steps[-1]["attention"] = [weight / sum(weights) for weight in weights]
        scores = {
            i: 1.15 * score + rng.gauss(0, 0.05 / (1 + number)) for i, score in scores.items()
        }
    listed = dict.fromkeys(id_ for step in steps for id_ in step["ids"])
    told = {id_: [rank[id_] for rank in ranks] for id_ in listed}
    return said | {"by": "model", "steps": steps, "ranks": told}


def shares(scores: Mapping[int, float]) -> dict[int, float]:
    """Returns the softmax of the scores of all items that may be listed."""
    weights = {i: math.exp(score / TEMPERATURE) for i, score in scores.items()}
    total = sum(weights.values())
    return {i: weight / total for i, weight in weights.items()}


def _step(
    number: int, ids: list[str], scores: list[float], before: list[Any] = ()
) -> dict[str, Any]:
    old = before[-1]["ids"] if before else ids
    return {
        "step": number,
        "ids": ids,
        "scores": scores,
        "titles": [ITEMS[int(id_)]["title"] for id_ in ids],
        "entered": [id_ for id_ in ids if id_ not in old],
        "left": [id_ for id_ in old if id_ not in ids],
        "effective_items": 180 * math.exp(-0.6 * number),
        "top_share": None,
        "attention": None,
    }


class Stub(ThreadingHTTPServer):
    """The server; tests set key, not_ready (answers left with 503) and error (of /explain)."""

    daemon_threads = True

    def __init__(self, names: list[str], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.names = names
        self.reset()

    def reset(self) -> None:
        self.key: str | None = None
        self.not_ready = 0
        self.error: str | None = None
        self.paths: list[str] = []

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, fields: Mapping[str, list[str]], body: Any) -> tuple[int, Any]:
        if path == "/models":
            told = [
                {"name": name, "label": f"{name} on sasrec", "method": name, "backbone": "sasrec"}
                | {"steps": MODELS[name], "items": COUNT, "default": place == 0, "max_length": 50}
                | {"temperature": TEMPERATURE, "attention": True}
                for place, name in enumerate(self.names)
            ]
            return 200, {"models": told}
        if path == "/items":
            words = fields.get("q", [""])[0].lower().split()
            fits = (i for i in ITEMS if all(w in i["title"].lower() or w in i["id"] for w in words))
            return 200, {"items": [item for item, _ in zip(fits, range(20), strict=False)]}
        if path == "/samples":
            return 200, {"samples": SAMPLES}
        if path == "/explain":
            return (422, {"error": self.error}) if self.error else (200, explain(body))
        return 404, {"error": "There is no such path."}


class _Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        name = "index.html" if path == "/" else path.removeprefix("/static/")
        if path == "/" or path.startswith("/static/"):
            file = STATIC / name
            return self._send(200, file.read_bytes(), KINDS[file.suffix])
        return self._tell(None)

    def do_POST(self) -> None:
        self._tell(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _tell(self, body: Any) -> None:
        url = urlsplit(self.path)
        self.server.paths.append(url.path)
        if self.server.not_ready:
            self.server.not_ready -= 1
            status, told = 503, {"error": "the models are being compiled"}
        elif self.server.key and self.headers.get("X-API-Key") != self.server.key:
            status, told = 401, {"error": "A key is needed."}
        else:
            status, told = self.server.answer(url.path, parse_qs(url.query), body)
        self._send(status, json.dumps(told).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'self'")
        self.send_header("Retry-After", "0.05")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@contextlib.contextmanager
def stub(names: list[str], port: int = 0) -> Iterator[Stub]:
    """Runs a server with these of MODELS; the first one is the default."""
    with Stub(names, port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
