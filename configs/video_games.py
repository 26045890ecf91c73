r"""Amazon Reviews 2023, Video_Games: the official 5-core time split, with targets rated above 3.

The first run downloads four files from https://amazon-reviews-2023.github.io (McAuley Lab) and
prepares them as in the paper; later ones read the result. Training targets have at least 1 earlier
item, validation and test targets at least 5. The authors' files gave 7,688 validation and 3,616
test targets; yours are compared with these while they are prepared.

    python -m rearec_jax.main --config=configs/video_games.py

The four files can also be read from a directory or another server:

    python -m rearec_jax.main --config=configs/video_games.py --config.data.mirror=DIR_OR_URL

This runs one cell of the paper's grid, where BACKBONE is sasrec, bert4rec, unisrec or morec, and
METHOD is base, erl or prl:

    python -m rearec_jax.main --config=configs/video_games.py \
      --config.model.backbone=BACKBONE --config.method.name=METHOD

The paper reports this test NDCG@20/Recall@20. Its model (D = 256, two layers of two heads) and
training (batches of 2,048 targets, learning rate 1e-3) are our defaults; its `method` settings are
not:

                       base           erl           prl
    sasrec      .0353/.0816   .0385/.0915   .0379/.0890
    bert4rec    .0355/.0810   .0375/.0832   .0380/.0879
    unisrec     .0421/.1054   .0440/.1015   .0433/.0982
    morec       .0438/.1065   .0485/.1112   .0462/.1067

Our time and accuracy are not measured yet.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "video_games"
    options.data.source = "tfds"
    options.data.builder = "video_games"
    return options
