"""Yelp, the academic file (30,431 users, 20,033 items), leave-one-out.

Users go back to the same place here (11,830 repeats), so never set eval.exclude_seen.

    python -m rearec_jax.main --config=configs/yelp_s3.py --config.data.path=Yelp.txt

Measured on two shared CPU cores, one seed: 23 epochs in 21 minutes, best epoch 18; validation
NDCG@20 .0458, test Recall@10 .0598, NDCG@10 .0377 (step 0 alone: .0354).

Those batches had 41 rows: add --config.train.rows_multiple=1 (the default rounds them to 40).
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "yelp_s3"
    options.data.source = "sequences"
    options.data.text_columns = ("title", "categories")  # of data.item_text, where it is given
    options.data.hint = (
        "Yelp.txt of the S³-Rec release (one user a line: user item item ..., oldest first),"
        " published at https://github.com/RUCAIBox/CIKM2020-S3Rec in data/"
    )
    options.model.width = 64
    options.method.name = "erl"  # half the cost of prl
    options.train.patience = 5
    return options
