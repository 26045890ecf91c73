r"""Amazon Reviews 2023, Baby_Products: the official 5-core time split, with targets rated above 3.

The first run downloads four files from https://amazon-reviews-2023.github.io (McAuley Lab) and
prepares them as in the paper; later ones read the result. Training targets have at least 1 earlier
item, validation and test targets at least 5. The authors' files gave 18,418 validation and 10,167
test targets; yours are compared with these while they are prepared.

    python -m rearec_jax.main --config=configs/baby_products.py

The four files can also be read from a directory or another server:

    python -m rearec_jax.main --config=configs/baby_products.py --config.data.mirror=DIR_OR_URL

This runs one cell of the paper's grid, where BACKBONE is sasrec, bert4rec, unisrec or morec, and
METHOD is base, erl or prl:

    python -m rearec_jax.main --config=configs/baby_products.py \
      --config.model.backbone=BACKBONE --config.method.name=METHOD

The paper reports this test NDCG@20/Recall@20. Its model (D = 256, two layers of two heads) and
training (batches of 2,048 targets, learning rate 1e-3) are our defaults; its `method` settings are
not:

                       base           erl           prl
    sasrec      .0157/.0437   .0164/.0418   .0178/.0451
    bert4rec    .0154/.0439   .0195/.0481   .0185/.0466
    unisrec     .0199/.0501   .0239/.0589   .0236/.0575
    morec       .0231/.0588   .0242/.0602   .0247/.0611

Our time and accuracy are not measured yet.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "baby_products"
    options.data.source = "tfds"
    options.data.builder = "baby_products"
    return options
