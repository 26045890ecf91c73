"""MovieLens-100K, ratings above 3 as positive (942 users, 1,447 items), leave-one-out.

    python -m rearec_jax.main --config=configs/ml100k.py --config.data.path=ml-100k.inter

RESULT:ml100k
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "ml100k"
    options.data.source = "recbole"
    options.data.hint = (
        "the ml-100k.inter of RecBole's atomic files, published at"
        " https://github.com/RUCAIBox/RecSysDatasets; the item file beside it gives titles:"
        " --config.data.item_text=ml-100k.item --config.data.text_columns='(\"movie_title\",)'"
    )
    options.data.rating_column = "rating"
    options.data.rating_above = 3.0
    options.model.width = 64
    options.method.name = "erl"  # half the cost of prl
    options.train.patience = 5
    return options
