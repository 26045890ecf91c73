"""Amazon Beauty (2014, 5-core; 22,363 users, 12,101 items), leave-one-out.

    python -m rearec_jax.main --config=configs/beauty.py --config.data.path=Beauty.txt

Measured on two CPU cores shared with other work, one seed, all items ranked; valid is NDCG@20, the
rest is test. Minutes are training alone; base and erl ran to early stopping, prl to its best epoch.

    method    options                   valid    Recall@10  NDCG@10  NDCG@20   epoch  minutes
    base      method.name=base          .0593    .0818      .0399    .0481     24     10
    erl K=2   method.name=erl (λ=0)     .0612    .0838      .0413    .0495     19     16
    prl K=2   (the default)             .0621    .0812      .0410    .0505     18     19

The defaults of `method` were chosen by the column valid: τ = 1, λ = 0, α = 1, contrastive 0.1
(docs/results.md has a search of λ, τ and α at D=64; other weights are not yet compared). Published
for ReaRec on this file: Recall@10 .0704, NDCG@10 .0344.

With model.width=128, train.epochs=12, train.schedule=cosine, train.learning_rate=2e-3, three seeds:
Recall@10, NDCG@10 .0831, .0403 (base), .0861, .0428 (prl); docs/results.md.

Those batches had 41 rows: add --config.train.rows_multiple=1 (the default rounds them to 40).
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
