"""MovieLens-100K, with ratings above 3 as positives (942 users, 1,447 items), leave-one-out.

    python -m rearec_jax.main --config=configs/ml100k.py --config.data.path=ml-100k.inter

With one seed, on two CPU cores shared with other work, 20 epochs took 4.4 minutes, and the best was
epoch 15. Ranking all items, it has a test Recall@10 of .1200 and NDCG@10 of .0544 (popularity has
.0531 and .0247). The NDCG@10 by step 0, 1 and 2 alone is .0551, .0538 and .0555: one seed and 942
users show no gain from reasoning.

To repeat this add --config.train.rows_multiple=1: the batches had 41 rows, and the default rounds
them to 40.
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
    options.method.name = "erl"  # It costs half as much as prl.
    options.train.patience = 5
    return options
