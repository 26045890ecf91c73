"""Texts through a language model: batches, parts that are kept, and a real, tiny model on disk."""

import dataclasses
import importlib.util
import io
import json

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from rearec_jax.config import Config, DataConfig, TextConfig
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.item_vectors import language_model
from rearec_jax.data.item_vectors.language_model import encode, identity
from rearec_jax.data.item_vectors.vectors import item_vectors
from rearec_jax.errors import UserError

needs_models = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("torch", "transformers", "sentence_transformers"))),
    reason="the extra `text` (torch, transformers, sentence-transformers) is not installed",
)
TEXTS = [f"{'item ' * (i % 5)}{i}" for i in range(50)]


class Fake:
    """A model whose vector of a text is known, and which can stop after some batches."""

    def __init__(self, batches=10**9):
        self.left = batches
        self.seen = []

    def __call__(self, texts):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.seen.append(texts)
        return np.array([[len(text), float(text.split()[-1])] for text in texts], np.float64)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(language_model, "PART", 8)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return TextConfig(encoder="language_model", model_path=str(tmp_path / "model"), batch_size=3)


def quiet():
    return Console(file=io.StringIO())


def run(texts, config, directory, model):
    return encode(texts, config, directory, load=lambda _: model, console=quiet())


EXPECTED = [[len(text), float(text.split()[-1])] for text in TEXTS]


def test_each_text_gets_its_vector_in_batches(config, tmp_path):
    model = Fake()
    vectors = run([*TEXTS, *TEXTS[:5]], config, tmp_path / "parts", model)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [*EXPECTED, *EXPECTED[:5]]
    seen = [text for batch in model.seen for text in batch]
    assert sorted(seen) == sorted(TEXTS)  # equal texts once
    assert [len(text) for text in seen] == sorted(map(len, seen), reverse=True)
    assert max(map(len, model.seen)) == 3


@pytest.mark.parametrize("batches", [0, 1, 3, 4, 10])
def test_an_interrupted_run_continues_after_the_last_whole_part(config, tmp_path, batches):
    first, second = Fake(batches), Fake()
    with pytest.raises(KeyboardInterrupt):
        run(TEXTS, config, tmp_path / "parts", first)
    # Another batch size is no reason to start again.
    other = dataclasses.replace(config, batch_size=5)
    assert run(TEXTS, other, tmp_path / "parts", second).tolist() == EXPECTED
    whole_parts = batches // 3  # a part of 8 texts is three batches of at most 3
    assert sum(map(len, second.seen)) == len(TEXTS) - 8 * whole_parts


def test_a_finished_run_loads_no_model_and_a_damaged_part_is_made_again(config, tmp_path):
    parts = tmp_path / "parts"
    run(TEXTS, config, parts, Fake())
    files = sorted(parts.iterdir())
    assert len(files) == 7
    vectors = encode(TEXTS, config, parts, load=lambda _: pytest.fail("loaded"), console=quiet())
    assert vectors.tolist() == EXPECTED
    files[2].write_bytes(files[2].read_bytes()[:-1])
    model = Fake()
    assert run(TEXTS, config, parts, model).tolist() == EXPECTED
    assert sum(map(len, model.seen)) == 8


def test_values_that_are_not_finite_are_refused(config, tmp_path):
    with pytest.raises(UserError, match=r"not finite for the text 'item.*precision"):
        run(TEXTS, config, tmp_path, lambda texts: np.full((len(texts), 2), np.nan))
    assert not list(tmp_path.glob("part*"))


def test_lines_without_a_terminal_say_how_far_it_is(config, tmp_path):
    console = quiet()
    with pytest.raises(KeyboardInterrupt):
        encode(TEXTS, config, tmp_path / "p", load=lambda _: Fake(3), console=console)
    encode(TEXTS, config, tmp_path / "p", load=lambda _: Fake(), console=console)
    lines = console.file.getvalue()
    assert "8 of 50 texts are encoded already" in lines
    assert "encoded 50 of 50 texts" in lines


def test_where_parts_cannot_be_kept_there_is_a_warning(config, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert run(TEXTS[:3], config, tmp_path / "file", Fake()).tolist() == EXPECTED[:3]
    assert "are not kept" in caplog.text


def test_a_directory_with_a_dot_is_known_by_its_files(tmp_path):
    hidden = tmp_path / ".model"
    hidden.mkdir()
    (hidden / "config.json").write_text("{}")
    before = identity(str(hidden))
    (hidden / "added.txt").write_text("more")
    assert identity(str(hidden)) != before


def test_identity_changes_with_the_files(config, tmp_path, monkeypatch):
    before = identity(config.model_path)
    assert identity(config.model_path) == before
    (tmp_path / "model" / "config.json").write_text("{ }")
    assert identity(config.model_path) != before
    monkeypatch.setattr(language_model, "_SMALL", 1)
    large = identity(config.model_path)
    (tmp_path / "model" / "config.json").write_text("{  }")
    assert identity(config.model_path) != large


@pytest.mark.parametrize("name", ["", "absent", "empty"])
def test_no_model_there(tmp_path, name):
    (tmp_path / "empty").mkdir()
    config = TextConfig(encoder="language_model", model_path=str(tmp_path / name))
    with pytest.raises(UserError, match=r"text\.model_path=.*config\.json.*downloaded"):
        encode(TEXTS, config, tmp_path / "parts", console=quiet())


def test_missing_packages_are_named(config, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"REAREC_EXTRAS=text.*pip install"):
        encode(TEXTS, config, tmp_path / "parts", console=quiet())


def catalogue(texts):
    return Interactions(
        items=np.arange(len(texts), dtype=np.int32),
        offsets=np.array([0, len(texts)]),
        split=np.zeros(len(texts), np.uint8),
        timestamps=None,
        user_ids=pl.Series(["u"]),
        item_ids=pl.Series([f"{i:03d}" for i in range(len(texts))]),
        item_text=pl.Series(texts, dtype=pl.String),
        name="small",
    )


def test_vectors_of_a_catalogue(config, tmp_path, monkeypatch):
    """Interrupted and continued, reduced, kept; the parts are gone when all is done."""
    whole = Config(data=DataConfig(cache_dir=str(tmp_path / "cache")), text=config)
    data = catalogue([*TEXTS, None])
    monkeypatch.setattr(language_model, "load_model", lambda _: Fake(4))
    with pytest.raises(KeyboardInterrupt):
        item_vectors(whole, data)
    (parts,) = (tmp_path / "cache").iterdir()
    assert parts.is_dir()
    model = Fake()
    monkeypatch.setattr(language_model, "load_model", lambda _: model)
    found = item_vectors(whole, data)
    assert sum(map(len, model.seen)) == len(TEXTS) - 8
    assert found.vectors.shape == (51, 2)
    assert found.has_text.tolist() == [True] * 50 + [False]
    np.testing.assert_allclose(found.vectors[:50].mean(axis=0), 0, atol=1e-6)
    (file,) = (tmp_path / "cache").iterdir()
    assert file.suffix == ".npy"


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    """A BERT of random weights with a tokenizer of letters, as transformers saves it."""
    import torch
    import transformers

    root = tmp_path_factory.mktemp("bert")
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary = root / "vocab.txt"
    vocabulary.write_text("\n".join([*letters, *(f"##{letter}" for letter in letters[5:])]) + "\n")
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
    model = transformers.BertModel(
        transformers.BertConfig(vocab_size=57, max_position_embeddings=32, **sizes)
    )
    model.save_pretrained(root)
    transformers.BertTokenizer(str(vocabulary)).save_pretrained(root)
    return root


@needs_models
@pytest.mark.filterwarnings("default")
class TestRealModels:
    texts = ("an oak table", "scarf", "a red wool scarf " * 20)

    def config(self, root, **options):
        return TextConfig(encoder="language_model", model_path=str(root), **options)

    def test_padding_changes_nothing_and_the_mean_is_that_of_the_tokens(self, tiny_bert, tmp_path):
        import torch
        import transformers

        together = encode(self.texts, self.config(tiny_bert), tmp_path / "a", console=quiet())
        for row, text in enumerate(self.texts):
            alone = encode([text], self.config(tiny_bert), tmp_path / str(row), console=quiet())
            np.testing.assert_allclose(together[row], alone[0], atol=1e-5)
        tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_bert)
        model = transformers.AutoModel.from_pretrained(tiny_bert).eval()
        with torch.inference_mode():
            hidden = model(**tokenizer(self.texts[0], return_tensors="pt")).last_hidden_state
        np.testing.assert_allclose(together[0], hidden[0].mean(dim=0).numpy(), atol=1e-5)

    @pytest.mark.parametrize("kind", ["gpt2", "bart"])
    def test_what_sentence_transformers_does_not_pool(self, kind, tmp_path):
        """A tokenizer without a padding token, and an encoder-decoder, whose encoder counts."""
        import tokenizers
        import torch
        import transformers

        words = {word: n for n, word in enumerate(["</s>", "<unk>", *" ".join(self.texts).split()])}
        made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
        made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        tokens = dict(eos_token="</s>", unk_token="<unk>", model_max_length=90)
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made, **tokens)
        tokenizer.save_pretrained(tmp_path / "model")
        torch.manual_seed(0)
        sizes = dict(vocab_size=99, eos_token_id=0, bos_token_id=0, num_hidden_layers=1)
        if kind == "gpt2":
            sizes |= dict(n_embd=8, n_head=2, n_positions=90)
            model = transformers.GPT2Model(transformers.GPT2Config(**sizes)).eval()
        else:
            sizes |= dict(d_model=8, encoder_ffn_dim=8, decoder_ffn_dim=8, pad_token_id=0)
            sizes |= dict(encoder_attention_heads=2, decoder_attention_heads=2, decoder_layers=1)
            model = transformers.BartModel(transformers.BartConfig(**sizes)).eval()
        model.save_pretrained(tmp_path / "model")
        own = model.get_encoder() if kind == "bart" else model
        vectors = encode(
            self.texts, self.config(tmp_path / "model"), tmp_path / "p", console=quiet()
        )
        for text, vector in zip(self.texts, vectors, strict=True):
            with torch.inference_mode():
                hidden = own(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            np.testing.assert_allclose(vector, hidden.mean(dim=0).numpy(), atol=1e-5)

    def test_max_tokens_cuts(self, tiny_bert, tmp_path):
        short = self.config(tiny_bert, max_tokens=4)  # [CLS], two letters, [SEP]
        vectors = encode(["ab cdef", "ab cxyz", "xy"], short, tmp_path, console=quiet())
        np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
        assert abs(vectors[0] - vectors[2]).max() > 1e-3

    def test_sentence_transformers_pool_as_they_were_trained(self, tiny_bert, tmp_path):
        import sentence_transformers
        from sentence_transformers import models

        modules = [models.Transformer(str(tiny_bert), max_seq_length=32)]
        modules += [models.Pooling(16, "cls"), models.Normalize()]
        model = sentence_transformers.SentenceTransformer(modules=modules, device="cpu")
        model.save(str(tmp_path / "sentences"))
        config = self.config(tmp_path / "sentences", batch_size=2)
        vectors = encode(self.texts, config, tmp_path / "parts", console=quiet())
        np.testing.assert_allclose(vectors, model.encode(list(self.texts)), atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)

    def test_a_damaged_model_is_explained(self, tiny_bert, tmp_path):
        root = tmp_path / "model"
        root.mkdir()
        (root / "config.json").write_text(json.dumps({"model_type": "bert"}))
        with pytest.raises(UserError, match=r"cannot be loaded: .*safetensors"):
            encode(["a"], self.config(root), tmp_path / "parts", console=quiet())
