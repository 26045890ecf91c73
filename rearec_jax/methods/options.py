"""The options `method.*` of a run."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class MethodConfig:
    """The options of reasoning and of its training; letters are those of the paper.

    Defaults are not the paper's, whose scores are sharper and whose diversity and contrastive terms
    weigh more: of the few settings tried, they did best on Beauty's validation split, with one seed
    (configs/beauty.py).
    """

    # base | naive | rpe | erl | prl | mancar | lares | plr | recrec | router
    name: str = "prl"
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
    graph: str = "pairs"  # mancar, what makes items near: pairs (one soon after the other) | swing
    graph_window: int = 3  # mancar, graph=pairs: how many items after an item are paired with it
    teacher_neighbours: int = 20  # mancar: items near the last one that the teacher names; 0 = none
    teacher_weight: float = 0.3  # lambda, mancar; 0 = no teacher at all
    teacher_width: float = 2.0  # gamma, mancar: gamma_k = gamma * (K - k + 1), in ranks
    temperature_power: float = 0.0  # mancar: tau_k = tau * (k + 1)^power (paper: 2)
    rescale: bool = False  # mancar: whether states get the length of an item, times phi (paper)
    core_layers: int = 1  # lares: the layers that every step applies, after the `model.layers`
    mean_steps: float = 4.0  # lares: the mean number of steps in training, of at most `steps`
    start_noise: float = 1.0  # lares: the scale of the state before the first step in training
    trajectory_weight: float = 0.0  # alpha, lares: contrast with another history (paper: 0.1)
    step_weight: float = 0.0  # gamma, lares: contrast with an earlier step (paper: 0.1 to 0.5)
    streams: int = 2  # M, PLR: the streams that reason beside each other
    dropout_contrast: float = 0.0  # PLR: weight of the contrast with a second dropout; 0 = left out
    held_out_users: float = 0.05  # router: share of users that its gate learns from, alone
