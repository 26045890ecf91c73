"""Amazon Video Games (2018, 5-core; 50,597 users, 16,874 items), split at two points in time.

The model is trained on all interactions before 2016-05-14, validated on those up to 2017-01-20, and
tested on the rest: 80 %, 10 % and 10 % of the interactions. Many users of the test split have no
training target.

    python -m rearec_jax.main --config=configs/amazon2018_game.py --config.data.path=FILE

With one seed, on two CPU cores beside another training, 26 epochs took 41 minutes, and the best was
epoch 21: validation NDCG@20 .0601, test Recall@10 .0671, test NDCG@10 .0362 (.0343 by step 0).

To repeat this add --config.train.rows_multiple=1: the batches had 41 rows, and the default rounds
them to 40.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "amazon2018_game"
    options.data.source = "table"
    options.data.hint = (
        "a table with the columns user_id, item_id, timestamp of the Amazon Review Data 2018,"
        " Video Games 5-core, published at https://nijianmo.github.io/amazon/"
        " (docs/data_sets.md turns its JSON lines into one)"
    )
    options.data.split = "time"
    options.data.valid_from = "2016-05-14"
    options.data.test_from = "2017-01-20"
    options.model.width = 64
    options.method.name = "erl"  # It costs half as much as prl.
    options.train.patience = 5
    return options
