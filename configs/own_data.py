"""Your own data: files of interactions, in CSV, Parquet or most other kinds (docs/training.md).

    python -m rearec_jax.main --config=configs/own_data.py --config.data.path=FILE

FILE is a file, a directory, a glob, or several with commas between them, packed or plain. A row is
an interaction, or a user with lists. Columns such as user_id, itemId and timestamp are found, and
others are named below or on the command line:

    --config.data.user_column=customer --config.data.item_column=product
    --config.data.timestamp_column=""    (the rows are in the order of time already)
    --config.data.columns=user,item,rating,timestamp    (the file has no header)
    --config.data.rating_column=stars --config.data.rating_above=3.0    (keeps ratings above 3)
    --config.data.events=view,buy    (keeps these kinds of events)

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
    options.eval.list_length = 10  # Coverage, novelty and so on of lists of 10 are measured.
    return options
