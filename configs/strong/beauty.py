"""A strong base for Amazon Beauty: filtered layers, much dropout of items, no reasoning.

    python -m rearec_jax.main --config=configs/strong/beauty.py --config.data.path=Beauty.txt

Chosen by validation NDCG@20 among the rows of "A stronger base" in docs/results.md. Three seeds,
seen items not ranked: .0847 (validation NDCG@20), .1008 and .0604 (test Recall@10 and NDCG@10).
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "beauty"
    options.data.source = "sequences"
    options.data.hint = (
        "Beauty.txt of the S³-Rec release (one user a line: user item item ..., oldest first),"
        " published at https://github.com/RUCAIBox/CIKM2020-S3Rec in data/"
    )
    options.model.layer = "filtered"
    options.model.width = 64
    options.model.embedding_dropout = 0.5
    options.method.name = "base"
    options.train.epochs = 30
    options.train.learning_rate = 2e-3
    options.train.schedule = "cosine"
    options.train.patience = 0
    options.eval.exclude_seen = True
    return options
