"""Encodes texts by a language model on disk; a run that was interrupted continues.

Texts go through the model in parts, and each finished part is kept as a file. Nothing is ever
downloaded, and no file is unpickled: weights must be safetensors.
"""

from collections.abc import Callable, Sequence
import contextlib
import hashlib
import importlib.util
import json
import logging
from pathlib import Path
import time
from typing import Any

from jaxtyping import Float32
import numpy as np
from rich.console import Console
from rich.progress import TimeRemainingColumn

from rearec_jax.config import TextConfig
from rearec_jax.errors import UserError
from rearec_jax.run.files import expanded, load_array, save_array
from rearec_jax.run.progress import Progress

Encode = Callable[[list[str]], np.ndarray]  # texts of one batch -> [texts, D]

PART = 256  # texts in one file
_SMALL = 1 << 20  # bytes; of larger files, size and time of change stand for the content


def encode(
    texts: Sequence[str],
    config: TextConfig,
    directory: Path,
    load: Callable[[TextConfig], Encode] | None = None,
    console: Console | None = None,
) -> Float32[np.ndarray, "M D"]:
    """Returns one vector a text, from the model of ``config.model_path``.

    Equal texts are encoded once, long texts first, so that a batch has little padding and too
    large a batch fails at once. Parts found in ``directory``, which belongs to these texts and this
    model, are used as they are. ``load`` (`load_model` by default) is called only when a part is
    missing. Progress is shown on standard error by default.

    Raises:
        UserError: there is no such model, the extra ``text`` is not installed, or a vector is not
            finite.
    """
    distinct = sorted(set(texts), key=lambda text: (-len(text), text))
    blocks = [distinct[start : start + PART] for start in range(0, len(distinct), PART)]
    files = [directory / f"part-{number:06d}.npy" for number in range(len(blocks))]
    kept = {file: _kept(file, len(block)) for file, block in zip(files, blocks, strict=True)}
    parts = {file: part for file, part in kept.items() if part is not None}
    if len(parts) < len(files):
        model, done = (load or load_model)(config), sum(map(len, parts.values()))
        with _Progress(len(distinct), done, console or Console(stderr=True)) as progress:
            for file, block in zip(files, blocks, strict=True):
                if file not in parts:
                    parts[file] = _encode_block(block, config, model, progress)
                    _keep(file, parts[file])
            if not progress.console.is_terminal:
                progress.catch_up()
    vectors = np.concatenate([parts[file] for file in files])
    row_of = {text: row for row, text in enumerate(distinct)}
    return vectors[[row_of[text] for text in texts]]


def identity(model_path: str) -> str:
    """Returns a key that changes with the model's files: their content, or size and time.

    Raises:
        UserError: the path is no directory of a model.
    """
    root = _model_directory(model_path)
    files: list[list[str | int]] = []
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts):
            status = path.stat()
            name = inside.as_posix()
            if status.st_size <= _SMALL:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                files.append([name, content])
            else:
                files.append([name, status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def load_model(config: TextConfig) -> Encode:
    """Loads the model in ``config.model_path``, onto the GPU where PyTorch has one.

    A sentence-transformers model (its directory holds modules.json) pools as its authors trained
    it; of any other transformers model, a text's vector is the mean of its tokens' last hidden
    states.

    Raises:
        UserError: a package or the model is missing, or it cannot be loaded.
    """
    root = _model_directory(config.model_path)
    is_sentence_model = (root / "modules.json").is_file()
    package = "sentence_transformers" if is_sentence_model else "transformers"
    if not all(importlib.util.find_spec(name) for name in ("torch", package)):
        raise UserError(
            f"text.encoder=language_model needs the packages torch and {package}, which are not"
            " installed: REAREC_EXTRAS=text bash launch/local.sh, or pip install '.[text]'"
        )
    try:
        load = _sentence_model if is_sentence_model else _hidden_state_model
        return load(root, config)
    except UserError:
        raise
    except Exception as error:  # these libraries raise of everything for a damaged model
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"the model in {root} (text.model_path) cannot be loaded: {reason}; it must have its"
            " tokenizer beside it and its weights as safetensors"
        ) from error


def _model_directory(model_path: str) -> Path:
    root = Path(expanded(model_path))
    if not root.is_dir() or not any((root / n).is_file() for n in ("config.json", "modules.json")):
        raise UserError(
            f"text.model_path={model_path} is not the directory of a transformers or"
            " sentence-transformers model (a directory with config.json); nothing is downloaded:"
            " put the model's files there first"
        )
    return root


def _sentence_model(root: Path, config: TextConfig) -> Encode:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(root), local_files_only=True, model_kwargs={"use_safetensors": True}
    )
    model.max_seq_length = min(config.max_tokens, model.max_seq_length or config.max_tokens)

    def vectors(texts: list[str]) -> np.ndarray:
        return model.encode(texts, batch_size=len(texts), show_progress_bar=False)

    return vectors


def _hidden_state_model(root: Path, config: TextConfig) -> Encode:
    import torch
    import transformers

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(root), local_files_only=True)
    model: Any = transformers.AutoModel.from_pretrained(
        str(root),
        local_files_only=True,
        use_safetensors=True,
        dtype="auto" if device == "cuda" else torch.float32,  # half precision is slow on a CPU
    )
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    model = model.to(device).eval()
    if tokenizer.pad_token is None:  # decoders such as Llama; padding is masked out below
        tokenizer.pad_token = tokenizer.eos_token
    limits = (tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None))
    limit = min(config.max_tokens, *(value for value in limits if value))

    def vectors(texts: list[str]) -> np.ndarray:
        tokens = tokenizer(
            texts, padding=True, truncation=True, max_length=limit, return_tensors="pt"
        ).to(device)
        with torch.inference_mode():
            hidden = model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"][..., None].float()
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        return mean.cpu().numpy()

    return vectors


def _encode_block(
    texts: list[str], config: TextConfig, model: Encode, progress: Progress
) -> np.ndarray:
    vectors = []
    for start in range(0, len(texts), config.batch_size):
        batch = texts[start : start + config.batch_size]
        vectors.append(np.asarray(model(batch), np.float32))
        bad = np.flatnonzero(~np.isfinite(vectors[-1]).all(axis=1))
        if len(bad):
            raise UserError(
                f"the model in {config.model_path} gives values that are not finite for the text"
                f" {batch[bad[0]][:60]!r}; another model or precision is needed"
            )
        progress.advance(len(batch))
    return np.concatenate(vectors)


def _kept(path: Path, rows: int) -> np.ndarray | None:
    with contextlib.suppress(OSError, ValueError):
        part = load_array(path, mmap=False)
        if part.ndim == 2 and len(part) == rows and part.dtype == np.float32:
            return part
    return None


def _keep(path: Path, part: np.ndarray) -> None:
    try:
        save_array(path, part)
    except OSError as error:
        logging.warning("encoded texts are not kept in %s: %s", path.parent, error)


class _Progress(Progress):
    """A display of the number of texts encoded."""

    columns = (TimeRemainingColumn,)

    def __init__(self, total: int, done: int, console: Console):
        super().__init__("encoding texts", total, done, console)
        self._start, self._clock = done, time.monotonic()
        if done and not console.is_terminal:
            self.message(f"{done:,} of {total:,} texts are encoded already")

    def line(self) -> str:
        rate = (self.done - self._start) / max(time.monotonic() - self._clock, 1e-9)
        return f"encoded {self.done:,} of {self.total:,} texts, {rate:,.0f} a second"
