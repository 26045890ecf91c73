"""Amazon Sports and Outdoors (2014, 5-core; 35,598 users, 18,357 items), leave-one-out.

    python -m rearec_jax.main --config=configs/sports.py --config.data.path=Sports_and_Outdoors.txt

With one seed, on two shared CPU cores, 20 epochs took 15 minutes, and the best was epoch 15:
validation NDCG@20 .0353, test Recall@10 .0460, test NDCG@10 .0215 (.0203 by step 0 alone).

To repeat this add --config.train.rows_multiple=1: the batches had 41 rows, and the default rounds
them to 40.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "sports"
    options.data.source = "sequences"
    options.data.hint = (
        "Sports_and_Outdoors.txt of the S³-Rec release (a user a line: user item item ...),"
        " published at https://github.com/RUCAIBox/CIKM2020-S3Rec in data/"
    )
    options.model.width = 64
    options.method.name = "erl"  # It costs half as much as prl.
    options.train.patience = 5
    return options
