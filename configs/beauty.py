"""Amazon Beauty (2014, 5-core; 22,363 users, 12,101 items), leave-one-out, full ranking, T=50.

    python -m rearec_jax.main --config=configs/beauty.py --config.data.path=Beauty.txt

RESULT:beauty
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
    options.model.width = 64
    options.train.patience = 5
    return options
