"""The options `method.*` of a run."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class MethodConfig:
    """The options of reasoning and of its training; letters are those of the paper.

    Defaults are not the paper's, whose scores are sharper and whose diversity and contrastive terms
    weigh more: of the few settings tried, they did best on Beauty's validation split, with one seed
    (configs/beauty.py).
    """

    name: str = "prl"  # base | naive | rpe | erl | prl | plr | recrec | router
    steps: int = 2  # K; base has none, whatever this says
    temperature: float = 0.0  # tau of the scores; 0 = 1 for products, 0.07 for cosines
    kl_weight: float = 0.0  # lambda, ERL and PLR: weight of the KL diversity
    kl: str = "released"  # released (mean of ordered pairs, stop-gradient) | paper (sum i<j)
    temperature_decay: float = 1.0  # alpha, PRL: tau_k = tau * alpha^(K-k)
    progressive_sum: str = "released"  # released (CE_K + means) | paper (plain sums)
    noise: float = 0.01  # gamma, PRL: scale of the noisy view's input noise
    contrastive_weight: float = 0.1  # PRL (paper: 1); 0 = no noisy view at all
    contrastive_warmup_epochs: int = 0  # epochs before the contrastive term starts (released: 2)
    negatives: str = "other_users"  # other_users | batch (every other example)
    streams: int = 2  # M, PLR: the streams that reason beside each other
    dropout_contrast: float = 0.0  # PLR: weight of the contrast with a second dropout; 0 = left out
    held_out_users: float = 0.05  # router: share of users that its gate learns from, alone
