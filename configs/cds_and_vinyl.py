r"""Amazon Reviews 2023, CDs_and_Vinyl: official 5-core time split, targets rated above 3.

The first run downloads four files from https://amazon-reviews-2023.github.io (McAuley Lab) and
prepares them as in the paper; later ones read the result. Training targets have 10 earlier
items or more, the others 10. The authors' files gave
503,241 training, 7,221 validation and 3,529 test targets; yours are compared with these while they
are prepared.

    python -m rearec_jax.main --config=configs/cds_and_vinyl.py

Files that are there already, or lie on another server:

    python -m rearec_jax.main --config=configs/cds_and_vinyl.py --config.data.mirror=DIR_OR_URL

The paper's grid (BACKBONE: sasrec, bert4rec, unisrec, morec; METHOD: base, erl, prl):

    python -m rearec_jax.main --config=configs/cds_and_vinyl.py \
      --config.model.backbone=BACKBONE --config.method.name=METHOD

The paper's test NDCG@20/Recall@20 (its `method` settings are not our defaults):

                       base           erl           prl
    sasrec      .0174/.0419   .0212/.0482   .0195/.0470
    bert4rec    .0185/.0468   .0208/.0524   .0202/.0496
    unisrec     .0208/.0527   .0259/.0629   .0253/.0640
    morec       .0235/.0604   .0248/.0609   .0249/.0618

Time and accuracy: not measured yet.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "cds_and_vinyl"
    options.data.source = "tfds"
    options.data.builder = "cds_and_vinyl"
    options.model.width = 256
    options.model.layers = 2
    options.model.heads = 2
    options.model.hidden = 300
    options.model.max_length = 50
    options.train.batch_size = 2048
    options.train.learning_rate = 1e-3
    options.train.patience = 10
    return options
