r"""Amazon Reviews 2023, CDs_and_Vinyl: the official 5-core time split, with targets rated above 3.

The first run downloads four files from https://amazon-reviews-2023.github.io (McAuley Lab) and
prepares them as in the paper; later ones read the result. Training targets have at least 10 earlier
items, and so have validation and test targets. The authors' files gave 503,241 training, 7,221
validation and 3,529 test targets; yours are compared with these while they are prepared.

    python -m rearec_jax.main --config=configs/cds_and_vinyl.py

The four files can also be read from a directory or another server:

    python -m rearec_jax.main --config=configs/cds_and_vinyl.py --config.data.mirror=DIR_OR_URL

This runs one cell of the paper's grid, where BACKBONE is sasrec, bert4rec, unisrec or morec, and
METHOD is base, erl or prl:

    python -m rearec_jax.main --config=configs/cds_and_vinyl.py \
      --config.model.backbone=BACKBONE --config.method.name=METHOD

The paper reports this test NDCG@20/Recall@20. Its model (D = 256, two layers of two heads) and
training (batches of 2,048 targets, learning rate 1e-3) are our defaults; its `method` settings are
not:

                       base           erl           prl
    sasrec      .0174/.0419   .0212/.0482   .0195/.0470
    bert4rec    .0185/.0468   .0208/.0524   .0202/.0496
    unisrec     .0208/.0527   .0259/.0629   .0253/.0640
    morec       .0235/.0604   .0248/.0609   .0249/.0618

Our time and accuracy are not measured yet.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "cds_and_vinyl"
    options.data.source = "tfds"
    options.data.builder = "cds_and_vinyl"
    return options
