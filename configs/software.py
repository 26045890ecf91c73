r"""Amazon Reviews 2023, Software: official 5-core time split, targets rated above 3.

The first run downloads four files from https://amazon-reviews-2023.github.io (McAuley Lab) and
prepares them as in the paper; later ones read the result. Training targets have 10 earlier
items or more, the others 5. The authors' files gave
151,731 training, 11,306 validation and 4,992 test targets; yours are compared with these while they
are prepared.

    python -m rearec_jax.main --config=configs/software.py

Files that are there already, or lie on another server:

    python -m rearec_jax.main --config=configs/software.py --config.data.mirror=DIR_OR_URL

The paper's grid (BACKBONE: sasrec, bert4rec, unisrec, morec; METHOD: base, erl, prl):

    python -m rearec_jax.main --config=configs/software.py \
      --config.model.backbone=BACKBONE --config.method.name=METHOD

The paper's test NDCG@20/Recall@20 (its `method` settings are not our defaults):

                       base           erl           prl
    sasrec      .0895/.2264   .0935/.2224   .0949/.2324
    bert4rec    .0893/.2258   .0964/.2328   .0976/.2350
    unisrec     .1041/.2522   .1075/.2556   .1076/.2518
    morec       .1050/.2510   .1071/.2466   .1120/.2532

Time and accuracy: not measured yet.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "software"
    options.data.source = "tfds"
    options.data.builder = "software"
    options.model.width = 256
    options.model.layers = 2
    options.model.heads = 2
    options.model.hidden = 300
    options.model.max_length = 50
    options.train.batch_size = 2048
    options.train.learning_rate = 1e-3
    options.train.patience = 10
    return options
