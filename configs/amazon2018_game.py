"""Amazon Video Games (2018, 5-core; 50,597 users, 16,874 items), global time split.

Trained on all before 2016-05-14, validated on the time up to 2017-01-20, tested on the rest: 80 %,
10 % and 10 % of the interactions. Many users of the test have no training target of their own.

    python -m rearec_jax.main --config=configs/amazon2018_game.py --config.data.path=FILE

Time and accuracy: not measured to the end yet.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "amazon2018_game"
    options.data.source = "table"
    options.data.hint = (
        "a TSV with the columns user_id, item_id, timestamp of the Amazon Review Data 2018,"
        " Video Games 5-core, published at https://nijianmo.github.io/amazon/"
    )
    options.data.split = "time"
    options.data.valid_from = "2016-05-14"
    options.data.test_from = "2017-01-20"
    options.model.width = 64
    options.method.name = "erl"  # half the cost of prl
    options.train.patience = 5
    return options
