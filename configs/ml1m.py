"""MovieLens-1M (6,040 users, 3,416 items; the median history has 96 items), leave-one-out.

    python -m rearec_jax.main --config=configs/ml1m.py --config.data.path=FILE

With one seed, on two CPU cores that had little other work (11,300 targets/s), training was stopped
by hand after 29 epochs and 43 minutes; the last was the best, and patience was not yet used up.
Validation NDCG@20 is .1637, test Recall@10 .2498 and test NDCG@10 .1305 (.1103 by step 0 alone and
.1328 by step 1; popularity has Recall@10 .0162 and NDCG@10 .0079).

To repeat this add --config.train.rows_multiple=1: the batches had 41 rows, and the default rounds
them to 40.
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
    options.method.name = "erl"  # It costs half as much as prl.
    options.train.patience = 5
    return options
