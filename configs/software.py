r"""Amazon Reviews 2023, Software: the official 5-core time split, with targets rated above 3.

The first run downloads four files from https://amazon-reviews-2023.github.io (McAuley Lab) and
prepares them as in the paper; later ones read the result. Training targets have at least 10 earlier
items, validation and test targets at least 5. The authors' files gave 151,731 training, 11,306
validation and 4,992 test targets; yours are compared with these while they are prepared.

    python -m rearec_jax.main --config=configs/software.py

The four files can also be read from a directory or another server:

    python -m rearec_jax.main --config=configs/software.py --config.data.mirror=DIR_OR_URL

This runs one cell of the paper's grid, where BACKBONE is sasrec, bert4rec, unisrec or morec, and
METHOD is base, erl or prl:

    python -m rearec_jax.main --config=configs/software.py \
      --config.model.backbone=BACKBONE --config.method.name=METHOD

The paper reports this test NDCG@20/Recall@20. Its model (D = 256, two layers of two heads) and
training (batches of 2,048 targets, learning rate 1e-3) are our defaults; its `method` settings are
not:

                       base           erl           prl
    sasrec      .0895/.2264   .0935/.2224   .0949/.2324
    bert4rec    .0893/.2258   .0964/.2328   .0976/.2350
    unisrec     .1041/.2522   .1075/.2556   .1076/.2518
    morec       .1050/.2510   .1071/.2466   .1120/.2532

Our time and accuracy are not measured yet.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "software"
    options.data.source = "tfds"
    options.data.builder = "software"
    return options
