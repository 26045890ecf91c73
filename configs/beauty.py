"""Amazon Beauty (2014, 5-core; 22,363 users, 12,101 items), leave-one-out.

    python -m rearec_jax.main --config=configs/beauty.py --config.data.path=Beauty.txt

The table was measured with one seed on two CPU cores shared with other work, ranking all items. The
column valid is validation NDCG@20; the other metrics are of the test split. The minutes are of
training alone; base and erl ran until they stopped early, prl until its best epoch.

    method    options                   valid    Recall@10  NDCG@10  NDCG@20   epoch  minutes
    base      method.name=base          .0593    .0818      .0399    .0481     24     10
    erl K=2   method.name=erl (λ=0)     .0612    .0838      .0413    .0495     19     16
    prl K=2   (the default)             .0621    .0812      .0410    .0505     18     19

The defaults of `method` (τ = 1, λ = 0, α = 1, contrastive weight 0.1) were chosen by the column
valid; docs/results.md has a search of λ, τ and α at D=64. Other contrastive weights are not yet
compared. ReaRec's published results on this file are Recall@10 .0704 and NDCG@10 .0344.

With model.width=128, train.epochs=12, train.schedule=cosine and train.learning_rate=2e-3, three
seeds have a mean test Recall@10 and NDCG@10 of .0831 and .0403 (base), and .0861 and .0428 (prl);
see docs/results.md.

To repeat the table add --config.train.rows_multiple=1: its batches had 41 rows, and the default
rounds them to 40.
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
    options.data.name = "beauty"
    options.data.source = "sequences"
    options.data.hint = (
        "Beauty.txt of the S³-Rec release (one user a line: user item item ..., oldest first),"
        " published at https://github.com/RUCAIBox/CIKM2020-S3Rec in data/"
    )
    options.model.width = 64
    options.train.patience = 5
    return options
