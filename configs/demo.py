"""The demo: generated users, nothing to download, a known best possible NDCG.

    bash launch/local.sh

Two CPU cores, shared with other work: 1.8 minutes of training, 12 epochs; test NDCG@10 .2109, which
is 67 % of the best possible and 3.6 times popularity's .0591.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "demo"
    options.data.source = "demo"
    options.model.width = 64
    options.method.name = "erl"  # half the cost of prl
    options.train.learning_rate = 2e-3
    options.train.epochs = 12
    options.train.patience = 3
    return options
