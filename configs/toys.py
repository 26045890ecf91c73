"""Amazon Toys and Games (2014, 5-core; 19,412 users, 11,924 items), leave-one-out.

    python -m rearec_jax.main --config=configs/toys.py --config.data.path=Toys_and_Games.txt

RESULT:toys
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
