"""Yelp, as in the S³-Rec release (30,431 users, 20,033 items), leave-one-out.

Users review the same business more than once (11,830 repeats), so never set eval.exclude_seen.

    python -m rearec_jax.main --config=configs/yelp_s3.py --config.data.path=Yelp.txt

With one seed, on two shared CPU cores, 23 epochs took 21 minutes, and the best was epoch 18:
validation NDCG@20 .0458, test Recall@10 .0598, test NDCG@10 .0377 (.0354 by step 0 alone).

To repeat this add --config.train.rows_multiple=1: the batches had 41 rows, and the default rounds
them to 40.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "yelp_s3"
    options.data.source = "sequences"
    # The text of a business, where data.item_text names a file of it, has two parts.
    options.data.text_columns = ("title", "categories")
    options.data.hint = (
        "Yelp.txt of the S³-Rec release (one user a line: user item item ..., oldest first),"
        " published at https://github.com/RUCAIBox/CIKM2020-S3Rec in data/"
    )
    options.model.width = 64
    options.method.name = "erl"  # It costs half as much as prl.
    options.train.patience = 5
    return options
