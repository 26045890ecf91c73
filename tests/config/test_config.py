"""Options are checked once, with a sentence that says which one and what to do."""

import dataclasses

from hypothesis import example, given
from hypothesis import strategies as st
import pytest

from rearec_jax import config
from rearec_jax.errors import UserError


def resolve(**changes):
    """Defaults with dotted options (__ for the dot) changed, as a plain dict."""
    options = config.to_dict(config.Config())
    for name, value in changes.items():
        *sections, key = name.split("__")
        place = options
        for section in sections:
            place = place[section]
        place[key] = value
    return config.resolve(options)


def test_defaults_resolve_to_themselves():
    resolved = config.resolve(config.default())
    assert resolved == config.resolve({}) == config.resolve(config.to_dict(config.Config()))
    assert resolved == config.resolve(config.to_dict(resolved))


def test_resolved_options_survive_a_file():
    resolved = resolve(
        method__name="erl", eval__cutoffs=[1, 3], data__rating_above=3, data__text_columns=["a"]
    )
    assert resolved.eval.cutoffs == (1, 3)
    assert resolved.data.rating_above == 3.0
    assert config.resolve(config.to_dict(resolved)) == resolved


def test_options_of_a_config_dict_can_be_set_and_cleared():
    options = config.default()
    options.data.rating_above = 3.5
    options.eval.cutoffs = (7,)
    resolved = config.resolve(options)
    assert (resolved.data.rating_above, resolved.eval.cutoffs) == (3.5, (7,))
    options.data.rating_above = None
    assert config.resolve(options).data.rating_above is None


@pytest.mark.parametrize(
    ("section", "wrong", "nearest"),
    [("model", "widht", "model.width"), ("method", "temprature", "method.temperature")],
)
def test_unknown_option_names_the_nearest(section, wrong, nearest):
    with pytest.raises(UserError, match=rf"{section}\.{wrong}.*{nearest}\b"):
        config.resolve({section: {wrong: 1}})


def test_unknown_section_names_the_nearest():
    with pytest.raises(UserError, match=r"modle.*model"):
        config.resolve({"modle": {"width": 1}})


def test_unlike_any_option_lists_the_known_ones():
    with pytest.raises(UserError, match=r"zzz.*cutoffs, exclude_seen"):
        config.resolve({"eval": {"zzz": 1}})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("model__width", "wide"),
        ("model__width", 8.5),
        ("model__width", True),
        ("method__temperature", "1"),
        ("method__temperature", True),
        ("eval__exclude_seen", 1),
        ("eval__cutoffs", 10),
        ("eval__cutoffs", ["ten"]),
        ("data__path", 3),
        ("seed", None),
    ],
)
def test_wrong_type_names_the_option(option, value):
    with pytest.raises(UserError, match=option.replace("__", r"\.")):
        resolve(**{option: value})


def test_whole_numbers_are_fine_where_a_float_is_asked_for():
    resolved = resolve(method__temperature=2)
    assert isinstance(resolved.method.temperature, float)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("method__temperature", -1.0),
        ("method__temperature", float("nan")),
        ("method__temperature", float("inf")),
        ("method__temperature_decay", 0.0),
        ("method__steps", 0),
        ("method__steps", -1),
        ("method__name", "prll"),
        ("method__kl", "other"),
        ("method__negatives", "none"),
        ("method__noise", -0.1),
        ("model__heads", 3),
        ("model__heads", 0),
        ("model__layers", 0),
        ("model__dropout", 1.0),
        ("model__embedding_dropout", -0.1),
        ("model__step_dropout", -0.5),
        ("model__dropout", float("nan")),
        ("model__dtype", "float16"),
        ("model__backbone", "sasrek"),
        ("train__learning_rate", 0.0),
        ("train__batch_size", 0),
        ("train__stride", 51),
        ("train__stride", -1),
        ("train__schedule", "linear"),
        ("train__catalogue_block", 0),
        ("train__logits_gib", -1.0),
        ("eval__steps", 3),
        ("eval__steps", -2),
        ("eval__cutoffs", []),
        ("eval__cutoffs", [0]),
        ("eval__score_mib", 0),
        ("data__split", "random"),
        ("data__valid_fraction", 0.95),
        ("data__test_fraction", 1.0),
        ("seed", -1),
        ("seed", 2**63),
        ("train__batch_size", 2**31),
        ("model__max_length", 2**20),
        ("method__steps", 2**20),
    ],
)
def test_out_of_range_names_the_option(option, value):
    with pytest.raises(UserError, match=option.replace("__", r"\.")):
        resolve(**{option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("train__stride", 50),
        ("eval__steps", 2),
        ("eval__steps", 0),
        ("train__logits_gib", 0.0),
        ("model__dropout", 0.0),
        ("method__contrastive_weight", 0.0),
    ],
)
def test_ends_of_ranges_are_inside(option, value):
    section, name = option.split("__")
    assert getattr(getattr(resolve(**{option: value}), section), name) == value


def test_misspelt_choice_names_the_nearest():
    with pytest.raises(UserError, match="did you mean sasrec"):
        resolve(model__backbone="sasrek")


def test_base_has_no_steps():
    resolved = resolve(method__name="base", method__steps=5)
    assert resolved.method.steps == 0
    assert config.resolve(config.to_dict(resolved)) == resolved
    with pytest.raises(UserError, match=r"eval\.steps"):
        resolve(method__name="base", eval__steps=1)


def test_a_backbone_sets_what_is_left_open():
    model = resolve(model__backbone="unisrec").model
    assert (model.items, model.attention, model.similarity) == ("whitening", "causal", "cosine")
    mixed = resolve(model__backbone="bert4rec", model__items="projection").model
    assert (mixed.items, mixed.attention, mixed.similarity) == (
        "projection",
        "bidirectional",
        "dot",
    )


@pytest.mark.parametrize(
    ("backbone", "given", "used"),
    [("sasrec", 0.0, 1.0), ("unisrec", 0.0, 0.07), ("unisrec", 0.3, 0.3), ("morec", 0.0, 1.0)],
)
def test_temperature_suits_the_scores_unless_given(backbone, given, used):
    chosen = resolve(model__backbone=backbone, method__temperature=given)
    assert chosen.method.temperature == used
    assert config.resolve(config.to_dict(chosen)) == chosen


def test_item_vectors_are_added_to_text_only():
    assert resolve(model__backbone="unisrec", model__item_ids=True).model.item_ids
    with pytest.raises(UserError, match=r"model\.items=ids has no text"):
        resolve(model__item_ids=True)


def test_fingerprint_changes_with_every_option():
    options = config.to_dict(config.Config())
    seen = {config.fingerprint(config.Config())}
    resolved = config.resolve(options)
    assert config.fingerprint(config.resolve(config.to_dict(resolved))) == config.fingerprint(
        resolved
    )
    count = 1
    for section in ("data", "text", "model", "method", "train", "eval"):
        for field in dataclasses.fields(getattr(config.Config(), section)):
            value = another(options[section][field.name])
            changed = dataclasses.replace(getattr(config.Config(), section), **{field.name: value})
            seen.add(config.fingerprint(config.Config(**{section: changed})))
            count += 1
    seen.add(config.fingerprint(config.Config(seed=1)))
    assert len(seen) == count + 1 > 50


def another(value):
    """A different value of the same type."""
    if isinstance(value, list):
        return (*value, *value) or ("another",)
    if isinstance(value, bool):
        return not value
    return {str: "another", int: 12345, float: 0.12345, type(None): 1.5}[type(value)]


def test_difference_names_what_changed_and_from_what():
    old, new = config.to_dict(resolve()), config.to_dict(resolve(data__core=10, seed=3))
    assert config.difference(old, new) == ["data.core: 0 -> 10", "seed: 0 -> 3"]
    assert config.difference(old, old) == []


def test_difference_names_options_of_another_version():
    old, new = {"model": {"width": 1, "gone": 2}}, {"model": {"width": 1, "new": 3}}
    assert config.difference(old, new) == [
        "model.gone: 2 -> (absent)",
        "model.new: (absent) -> 3",
    ]


def test_a_value_in_place_of_a_group_is_explained():
    with pytest.raises(UserError, match="is a group of options, not 3"):
        config.resolve({"model": 3})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("text__width", 0),
        ("text__batch_size", 0),
        ("text__max_tokens", 0),
        ("text__encoder", "tf-idf"),
        ("text__encoder", "language_model"),  # without text.model_path
    ],
)
def test_text_options_out_of_range(option, value):
    with pytest.raises(UserError, match=r"text\."):
        resolve(**{option: value})


def test_a_language_model_needs_its_directory_only_if_it_is_asked():
    named = resolve(text__encoder="language_model", text__model_path="model")
    given = resolve(text__encoder="language_model", text__vectors="vectors.npy")
    assert named.text.encoder == given.text.encoder == "language_model"


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.just(10**400)
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
SECTIONS = config.to_dict(config.resolve({}))


@st.composite
def options(draw):
    """Real names with any values, now and then another name."""
    chosen = {}
    for _ in range(draw(st.integers(1, 3))):
        section = draw(st.sampled_from(sorted(SECTIONS)))
        if section == "seed" or draw(st.integers(0, 9)) == 0:
            chosen[draw(st.sampled_from([section, "sed"]))] = draw(VALUES)
            continue
        name = draw(st.one_of(st.sampled_from(sorted(SECTIONS[section])), st.text(max_size=5)))
        group = chosen.setdefault(section, {})
        if isinstance(group, dict):
            group[name] = draw(VALUES)
    return chosen


@given(options=options())
@example({"train": {"learning_rate": 10**400}})
@example({"eval": {"cutoffs": []}})
@example({"data": {"text_template": "{a!r} {"}})
def test_any_options(options):
    """They give a configuration that goes through JSON and back, or an error."""
    try:
        resolved = config.resolve(options)
    except UserError as error:
        assert str(error)
        return
    assert config.resolve(config.to_dict(resolved)) == resolved
