"""Your own data: a CSV, TSV or Parquet file (plain or gzip) of interactions.

    python -m rearec_jax.main --config=configs/own_data.py --config.data.path=FILE

The file has a row an interaction and a header; name its columns below or on the command line
(--config.data.user_column=customer). Files in another shape: data.source=sequences for lines of
`user item item ...`, oldest first; data.source=recbole for RecBole's .inter files.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "own_data"
    options.data.source = "table"
    options.data.hint = "your table of interactions: --config.data.path=FILE (.csv, .tsv, .parquet)"
    options.data.user_column = "user_id"
    options.data.item_column = "item_id"
    options.data.timestamp_column = "timestamp"  # seconds, or ISO dates; "" = in time order already
    options.data.rating_column = ""  # with data.rating_above=3.0: keep ratings above 3
    options.data.core = 5  # keep users and items with at least 5 interactions
    options.model.width = 64  # 128 or 256 where there is much data
    options.method.name = "erl"  # half the cost of prl
    options.train.patience = 5
    return options
