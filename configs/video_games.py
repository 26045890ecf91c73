r"""Amazon Reviews 2023, Video_Games: official 5-core time split, targets rated above 3.

The first run downloads four files from https://amazon-reviews-2023.github.io (McAuley Lab) and
prepares them as in the paper; later ones read the result. Training targets have 1 earlier
item or more, the others 5. The authors' files gave
7,688 validation and 3,616 test targets; yours are compared with these while they
are prepared.

    python -m rearec_jax.main --config=configs/video_games.py

Files that are there already, or lie on another server:

    python -m rearec_jax.main --config=configs/video_games.py --config.data.mirror=DIR_OR_URL

The paper's grid (BACKBONE: sasrec, bert4rec, unisrec, morec; METHOD: base, erl, prl):

    python -m rearec_jax.main --config=configs/video_games.py \
      --config.model.backbone=BACKBONE --config.method.name=METHOD

The paper's test NDCG@20/Recall@20 (its `method` settings are not our defaults):

                       base           erl           prl
    sasrec      .0353/.0816   .0385/.0915   .0379/.0890
    bert4rec    .0355/.0810   .0375/.0832   .0380/.0879
    unisrec     .0421/.1054   .0440/.1015   .0433/.0982
    morec       .0438/.1065   .0485/.1112   .0462/.1067

Time and accuracy: not measured yet.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "video_games"
    options.data.source = "tfds"
    options.data.builder = "video_games"
    options.model.width = 256
    options.model.layers = 2
    options.model.heads = 2
    options.model.hidden = 300
    options.model.max_length = 50
    options.train.batch_size = 2048
    options.train.learning_rate = 1e-3
    options.train.patience = 10
    return options
