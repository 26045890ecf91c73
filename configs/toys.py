"""Amazon Toys and Games (2014, 5-core; 19,412 users, 11,924 items), leave-one-out.

    python -m rearec_jax.main --config=configs/toys.py --config.data.path=Toys_and_Games.txt

Two CPU cores, about 18 s an epoch (6,200 targets/s), one seed, all items ranked, stopped by hand
after 24 epochs, the best being 23 (validation NDCG@20 .0626): test Recall@10 .0904, NDCG@10 .0447.
Steps 0, 1, 2 alone: NDCG@10 .0426, .0449, .0447. Published for ReaRec on this file: .0764, .0376.

With model.width=128, train.epochs=12, train.schedule=cosine, train.learning_rate=2e-3, three seeds:
Recall@10, NDCG@10 .0871, .0421 (base), .0883, .0431 (erl), .0901, .0441 (prl); docs/results.md.

Those batches had 41 rows: add --config.train.rows_multiple=1 (the default rounds them to 40).
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "toys"
    options.data.source = "sequences"
    options.data.hint = (
        "Toys_and_Games.txt of the S³-Rec release (a user a line: user item item ...),"
        " published at https://github.com/RUCAIBox/CIKM2020-S3Rec in data/"
    )
    options.model.width = 64
    options.method.name = "erl"  # half the cost of prl
    options.train.patience = 5
    return options
