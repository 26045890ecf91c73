"""Amazon Video Games (2018, 5-core; 50,597 users, 16,874 items), global time split.

Trained on all before 2016-05-14, validated on the time up to 2017-01-20, tested on the rest: 80 %,
10 % and 10 % of the interactions. Many users of the test have no training target of their own.

    python -m rearec_jax.main --config=configs/amazon2018_game.py --config.data.path=FILE

Measured on two CPU cores beside another training, one seed: 26 epochs in 41 minutes, best epoch
21; validation NDCG@20 .0601, test Recall@10 .0671, NDCG@10 .0362 (step 0 alone: .0343).

Those batches had 41 rows: add --config.train.rows_multiple=1 (the default rounds them to 40).
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
    options.method.name = "erl"  # half the cost of prl
    options.train.patience = 5
    return options
