r"""Yelp's academic reviews, as in the paper: stars above 3, 20-core, a time split at 80 % and 90 %.

Download the JSON files from https://www.yelp.com/dataset (accept the terms) and put
yelp_academic_dataset_business.json and yelp_academic_dataset_review.json in one directory. The
first run prepares them, later ones read the result. The authors' files gave 385,589 training,
49,353 validation and 8,865 test targets; yours are compared with these while they are prepared.

    python -m rearec_jax.main --config=configs/yelp.py --config.data.path=DIR

This runs one cell of the paper's grid, where BACKBONE is sasrec, bert4rec, unisrec or morec, and
METHOD is base, erl or prl:

    python -m rearec_jax.main --config=configs/yelp.py --config.data.path=DIR \
      --config.model.backbone=BACKBONE --config.method.name=METHOD

The paper reports this test NDCG@20/Recall@20. Its model (D = 256, two layers of two heads) and
training (batches of 2,048 targets, learning rate 1e-3) are our defaults; its `method` settings are
not:

                       base           erl           prl
    sasrec      .0452/.1047   .0474/.1056   .0493/.1149
    bert4rec    .0460/.1038   .0476/.1077   .0487/.1149
    unisrec     .0495/.1195   .0521/.1227   .0529/.1253
    morec       .0516/.1258   .0531/.1283   .0532/.1289

Our time and accuracy are not measured yet.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "yelp"
    options.data.source = "tfds"
    options.data.builder = "yelp"
    return options
