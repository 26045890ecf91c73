"""Your own data: a CSV, TSV or Parquet file (plain or gzip) of interactions.

    python -m rearec_jax.main --config=configs/own_data.py --config.data.path=FILE

The file has a header and a row for each interaction. Its columns are user_id, item_id and timestamp
(in seconds, or as ISO dates), unless you name others below or on the command line:

    --config.data.user_column=customer --config.data.item_column=product
    --config.data.timestamp_column=""    (the rows are in the order of time already)
    --config.data.rating_column=stars --config.data.rating_above=3.0    (keeps ratings above 3)

data.source=sequences reads lines of `user item item ...`, oldest first, and data.source=recbole the
.inter files of RecBole. data.times_path names times beside sequences: `user time time ...` a line.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "own_data"
    options.data.source = "table"
    options.data.hint = "your table of interactions: --config.data.path=FILE (.csv, .tsv, .parquet)"
    options.data.core = 5  # Only users and items with at least 5 interactions are kept.
    options.model.width = 64  # Much data wants 128 or 256.
    options.method.name = "erl"  # It costs half as much as prl.
    options.train.patience = 5
    return options
