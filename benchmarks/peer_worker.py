"""One library training SASRec on a sequences file, a turn at a time; `benchmarks.peers` starts it.

It says what it will train as a JSON line on stdout, then answers each request, a JSON line on
stdin, with one: {"batches": 5} trains on so many batches, {"epoch": true} to the end of the epoch
and ranks the validation targets. The clock runs from the request to the end of the last batch:
loading of batches counts, validation does not. Imports only the library that it is asked for.
"""

import argparse
from collections.abc import Callable, Iterator
import json
import math
import os
from pathlib import Path
import sys
import tempfile
import time
from typing import Any, TextIO


class Turns:
    """Where the training stands in the present request. Every library calls the same four."""

    def __init__(self, requests: TextIO, replies: TextIO):
        self._requests, self._replies = requests, replies
        self._asked: dict[str, Any] = {}
        self._started, self._seconds, self._targets, self._batches = 0.0, 0.0, 0, 0

    def ready(self, **about: Any) -> None:
        """Everything is loaded."""
        self._reply(about)

    def before_batch(self) -> None:
        """Waits for a request unless one is being worked on. Ends the process at the end of all."""
        if self._asked:
            return
        line = self._requests.readline()
        if not line:
            os._exit(0)  # out of whatever training loop this is called from
        self._asked = json.loads(line)
        self._seconds, self._targets, self._batches = 0.0, 0, 0
        self._started = time.perf_counter()

    def after_batch(self, targets: int) -> None:
        """One more batch is done, all of it: the device is waited for."""
        self._seconds = time.perf_counter() - self._started
        self._targets += targets
        self._batches += 1
        if self._asked.get("batches") == self._batches:
            self._done({})

    def after_epoch(self, validate: Callable[[], float]) -> None:
        """The end of an epoch; ``validate`` gives NDCG@10 and is called only if asked for."""
        if "epoch" in self._asked:
            self._done({"ndcg@10": validate()})

    def _done(self, more: dict[str, Any]) -> None:
        self._asked = {}
        said = {"seconds": self._seconds, "targets": self._targets, "batches": self._batches}
        self._reply(said | more)

    def _reply(self, answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=self._replies, flush=True)


def sequences(path: Path) -> list[tuple[str, list[str]]]:
    """Users and their items, oldest first, of those with enough for a train and two targets."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(user, items) for user, *items in lines if len(items) > 3]


def ndcg_at_10(ranks: Iterator[int], examples: int) -> float:
    """Mean over ``examples``, those without a rank being misses."""
    return sum(1 / math.log2(rank + 1) for rank in ranks if rank <= 10) / examples


def train_rearec_jax(arguments: argparse.Namespace, turns: Turns) -> None:
    import jax

    import rearec_jax
    from rearec_jax import config as config_lib
    from rearec_jax.data.batches.loader import prefetch
    from rearec_jax.data.prepare import prepare
    from rearec_jax.evaluation import evaluator
    from rearec_jax.ops.huge_pages import compute_in_first_thread
    from rearec_jax.training.setup import make_setup

    compute_in_first_thread()  # as rearec_jax.main does

    options = config_lib.default()
    options.data.source, options.data.path = "sequences", str(arguments.file)
    options.data.cache_dir = tempfile.mkdtemp(dir=arguments.scratch)
    options.method.name, options.method.steps = arguments.method, arguments.steps
    options.model.width, options.model.layers = arguments.width, arguments.layers
    options.model.heads, options.model.max_length = arguments.heads, arguments.max_length
    options.train.batch_size = arguments.targets
    config = config_lib.resolve(options)
    setup = make_setup(config, prepare(config.data))
    update, state = setup.update_function(setup.contrast(0)), setup.initial_state()
    turns.ready(
        version=rearec_jax.__version__,
        batches_per_epoch=setup.steps_per_epoch,
        targets_per_epoch=setup.batches.targets_per_epoch,
    )
    step = 0
    while True:
        turns.before_batch()
        for batch, targets in prefetch(setup.rest_of_epoch(step)):
            turns.before_batch()
            state, _ = jax.block_until_ready(update(state, batch))
            step += 1
            turns.after_batch(targets)
        variables = state.variables
        turns.after_epoch(
            lambda v=variables: evaluator.metrics(setup.validate(v).final, (10,))["ndcg@10"]
        )


def train_rectools(arguments: argparse.Namespace, turns: Turns) -> None:
    import pandas as pd
    from pytorch_lightning import Callback, Trainer, seed_everything
    import rectools
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    seed_everything(0)
    users = sequences(arguments.file)
    rows = [
        (user, item, 1.0, pd.Timestamp(position, unit="D"))
        for user, items in users
        for position, item in enumerate(items[:-1])  # the last is the test's
    ]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "weight", "datetime"])
    in_epoch = sum(min(len(items) - 3, arguments.max_length) for _, items in users)
    batch_users = max(1, round(arguments.targets * len(users) / in_epoch))

    class Hooks(Callback):
        def __deepcopy__(self, memo: Any) -> "Hooks":  # the model copies its trainer
            return self

        def on_train_start(self, *_: Any) -> None:
            self.ranks: list[int] = []

        def on_train_batch_start(self, *_: Any) -> None:
            turns.before_batch()

        def on_train_batch_end(
            self, trainer: Any, module: Any, out: Any, batch: Any, _: int
        ) -> None:
            targets = int((batch["y"] != 0).sum())  # of the same stream: waits for the device
            turns.after_batch(targets)

        def on_validation_batch_end(
            self, trainer: Any, module: Any, out: Any, batch: Any, *_: Any
        ) -> None:
            targets = batch["y"]
            scores = out["logits"].reshape(len(targets), -1)
            own = scores.gather(1, targets)
            self.ranks += (scores[:, 1:] >= own).sum(1).tolist()  # item 0 is padding

        def on_train_epoch_end(self, *_: Any) -> None:
            turns.after_epoch(lambda: ndcg_at_10(iter(self.ranks), len(users)))
            self.ranks = []

    def trainer() -> Any:
        return Trainer(
            max_epochs=100_000,
            callbacks=[Hooks()],
            limit_val_batches=1.0 if arguments.validate else 0,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            devices=1,
        )

    model = SASRecModel(
        n_blocks=arguments.layers,
        n_heads=arguments.heads,
        n_factors=arguments.width,
        session_max_len=arguments.max_length,
        loss="softmax",
        batch_size=batch_users,
        get_trainer_func=trainer,
        get_val_mask_func=lambda rows: ~rows["user_id"].duplicated(keep="last").to_numpy(),
    )
    turns.ready(
        version=rectools.__version__,
        batches_per_epoch=-(-len(users) // batch_users),
        targets_per_epoch=in_epoch,
    )
    model.fit(Dataset.construct(table))


def train_recbole(arguments: argparse.Namespace, turns: Turns) -> None:
    from importlib.metadata import version

    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.sequential_recommender import SASRec
    from recbole.utils import init_seed
    import torch

    users = sequences(arguments.file)
    directory = Path(tempfile.mkdtemp(dir=arguments.scratch))
    lines = [
        f"{user}\t{item}\t{position}"
        for user, items in users
        for position, item in enumerate(items)
    ]
    heading = "user_id:token\titem_id:token\ttimestamp:float"
    (directory / "peer").mkdir()
    (directory / "peer" / "peer.inter").write_text("\n".join([heading, *lines]) + "\n")
    sys.argv = sys.argv[:1]  # it reads options from there
    os.chdir(directory)  # and writes logs to where it is
    config = Config(
        model="SASRec",
        dataset="peer",
        config_dict={
            "data_path": str(directory),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
            "train_neg_sample_args": None,
            "loss_type": "CE",
            "hidden_size": arguments.width,
            "inner_size": 300,
            "n_layers": arguments.layers,
            "n_heads": arguments.heads,
            "MAX_ITEM_LIST_LENGTH": arguments.max_length,
            "train_batch_size": arguments.targets,
            "eval_batch_size": 1024,
        },
    )
    init_seed(0, True)
    train, valid, _ = data_preparation(config, create_dataset(config))
    model = SASRec(config, train.dataset).to(config["device"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    @torch.no_grad()
    def ranks() -> Iterator[int]:
        model.eval()
        for batch, _, rows, targets in valid:
            scores = model.full_sort_predict(batch.to(config["device"])).reshape(len(batch), -1)
            own = scores[rows].gather(1, targets[:, None].to(scores.device))
            yield from (scores[rows][:, 1:] >= own).sum(1).tolist()

    turns.ready(
        version=version("recbole"),
        batches_per_epoch=len(train),
        targets_per_epoch=len(train.dataset),
    )
    while True:
        model.train()
        turns.before_batch()
        for batch in train:
            turns.before_batch()
            optimizer.zero_grad()
            loss = model.calculate_loss(batch.to(config["device"]))
            loss.backward()
            optimizer.step()
            loss.item()  # waits for the device
            turns.after_batch(len(batch))
        turns.after_epoch(lambda: ndcg_at_10(ranks(), len(users)))


LIBRARIES = {"rearec_jax": train_rearec_jax, "rectools": train_rectools, "recbole": train_recbole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("file", type=Path)
    for name in ("width", "layers", "heads", "max_length", "targets"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--method", default="base", help="of rearec_jax")
    parser.add_argument("--steps", type=int, default=2, help="of rearec_jax")
    parser.add_argument("--scratch", required=True, help="a directory that the caller deletes")
    parser.add_argument("--validate", action="store_true", help="epochs will be asked for")
    arguments = parser.parse_args()
    turns = Turns(sys.stdin, sys.stdout)
    sys.stdout = sys.stderr  # a library that prints must not be taken for an answer
    LIBRARIES[arguments.library](arguments, turns)


if __name__ == "__main__":
    main()
