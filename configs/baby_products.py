r"""Amazon Reviews 2023, Baby_Products: official 5-core time split, targets rated above 3.

The first run downloads four files from https://amazon-reviews-2023.github.io (McAuley Lab) and
prepares them as in the paper; later ones read the result. Training targets have 1 earlier
item or more, the others 5. The authors' files gave
18,418 validation and 10,167 test targets; yours are compared with these while they
are prepared.

    python -m rearec_jax.main --config=configs/baby_products.py

Files that are there already, or lie on another server:

    python -m rearec_jax.main --config=configs/baby_products.py --config.data.mirror=DIR_OR_URL

The paper's grid (BACKBONE: sasrec, bert4rec, unisrec, morec; METHOD: base, erl, prl):

    python -m rearec_jax.main --config=configs/baby_products.py \
      --config.model.backbone=BACKBONE --config.method.name=METHOD

The paper's test NDCG@20/Recall@20 (its `method` settings are not our defaults):

                       base           erl           prl
    sasrec      .0157/.0437   .0164/.0418   .0178/.0451
    bert4rec    .0154/.0439   .0195/.0481   .0185/.0466
    unisrec     .0199/.0501   .0239/.0589   .0236/.0575
    morec       .0231/.0588   .0242/.0602   .0247/.0611

Time and accuracy: not measured yet.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "baby_products"
    options.data.source = "tfds"
    options.data.builder = "baby_products"
    options.model.width = 256
    options.model.layers = 2
    options.model.heads = 2
    options.model.hidden = 300
    options.model.max_length = 50
    options.train.batch_size = 2048
    options.train.learning_rate = 1e-3
    options.train.patience = 10
    return options
