"""MovieLens-100K, ratings above 3 as positive (942 users, 1,447 items), leave-one-out.

    python -m rearec_jax.main --config=configs/ml100k.py --config.data.path=ml-100k.inter

Two CPU cores shared with other work, one seed, all items ranked: 4.4 minutes for 20 epochs,
the best 15; test Recall@10 .1200, NDCG@10 .0544 (popularity .0531, .0247). Steps 0, 1, 2 alone:
NDCG@10 .0551, .0538, .0555: one seed and 942 users show no gain from reasoning.

Those batches had 41 rows: add --config.train.rows_multiple=1 (the default rounds them to 40).
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
