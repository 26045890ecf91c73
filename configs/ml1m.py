"""MovieLens-1M (6,040 users, 3,416 items; histories of 96 items in the median), leave-one-out.

    python -m rearec_jax.main --config=configs/ml1m.py --config.data.path=FILE

Measured on two CPU cores, mostly alone (11,300 targets/s), one seed: stopped by hand after 29
epochs and 43 minutes, the last being the best and patience not yet used up; validation NDCG@20
.1637, test Recall@10 .2498, NDCG@10 .1305 (step 0 alone: .1103, step 1: .1328; popularity .0162,
.0079).

Those batches had 41 rows: add --config.train.rows_multiple=1 (the default rounds them to 40).
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "ml1m"
    options.data.source = "table"
    options.data.hint = (
        "a table with the columns user_id, item_id, timestamp of MovieLens-1M, published at"
        " https://grouplens.org/datasets/movielens/1m/ (docs/data_sets.md turns its ratings.dat"
        " into one); for RecBole's ml-1m.inter add --config.data.source=recbole"
    )
    options.model.width = 64
    options.method.name = "erl"  # half the cost of prl
    options.train.patience = 5
    return options
