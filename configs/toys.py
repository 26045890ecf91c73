"""Amazon Toys and Games (2014, 5-core; 19,412 users, 11,924 items), leave-one-out.

    python -m rearec_jax.main --config=configs/toys.py --config.data.path=Toys_and_Games.txt

With one seed, on two CPU cores, an epoch took about 18 s (6,200 targets/s); training was stopped by
hand after 24 epochs, of which epoch 23 was the best (validation NDCG@20 .0626). Ranking all items,
it has a test Recall@10 of .0904 and NDCG@10 of .0447; NDCG@10 by step 0, 1 and 2 alone is .0426,
.0449 and .0447. ReaRec's published results on this file are Recall@10 .0764 and NDCG@10 .0376.

To repeat this run add --config.train.rows_multiple=1: its batches had 41 rows, and the default
rounds them to 40.

With model.width=128, train.epochs=12, train.schedule=cosine and train.learning_rate=2e-3, three
seeds have a mean test Recall@10 and NDCG@10 of .0871 and .0421 (base), .0883 and .0431 (erl), and
.0901 and .0441 (prl); see docs/results.md.
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
    options.method.name = "erl"  # It costs half as much as prl.
    options.train.patience = 5
    return options
