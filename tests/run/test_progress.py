"""What a person sees: progress of training, and the table of results."""

import io
import time

import pytest
from rich.console import Console

from rearec_jax.evaluation.summary_table import print_results
from rearec_jax.run import progress
from rearec_jax.run.progress import ByteProgress, TrainingProgress


def console(terminal: bool, width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width)


def output(of: Console) -> str:
    return of.file.getvalue()


class TestProgress:
    def lines(self, monkeypatch, steps, total=40, length=25) -> list[str]:
        """Plain output of updates a second apart."""
        now = [100.0]
        monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
        screen = console(terminal=False)
        with TrainingProgress(total, length, console=screen) as bar:
            for step in steps:
                now[0] += 1.0
                bar.show(step, {"ce": 10 - step / 10, "loss": 12.5}, 1460.0, 1.0)
                if step == 25:
                    bar.message("validated")
        return output(screen).splitlines()

    def test_plain_lines_come_by_time_and_at_the_end_of_an_epoch(self, monkeypatch):
        lines = self.lines(monkeypatch, range(1, 41))
        shown = [line.split("%")[0].split()[-1] for line in lines if "%" in line]
        assert shown == ["4", "44", "84", "100", "40", "100"]
        assert lines[1] == "epoch 1/2  44%  loss 12.5  ce 8.9  1,460 targets/s  0:14 left"
        assert lines[4] == "validated"  # below the last step of its epoch
        assert lines[-1].startswith("epoch 2/2 100%")  # cut short: 40 of 50 steps
        assert "left" not in lines[-1]

    def test_a_resumed_run_starts_where_it_is(self, monkeypatch):
        lines = self.lines(monkeypatch, [38, 39])
        assert lines[0].startswith("epoch 2/2  86%")

    def test_the_longest_line_fits_100_columns(self):
        screen = console(terminal=False)
        names = ("loss", "cross_entropy", "shallow_cross_entropy", "contrastive")
        with TrainingProgress(300 * 390, 390, console=screen) as bar:
            bar.show(299 * 390 + 100, dict.fromkeys(names, 9.87654321), 12_345.0, 2.0)
        (line,) = output(screen).splitlines()
        assert len(line) <= 100, line

    def test_one_loss_is_said_once(self):
        screen = console(terminal=False)
        with TrainingProgress(10, 10, console=screen) as bar:
            bar.show(3, {"loss": 2.5, "cross_entropy": 2.5})
        assert output(screen) == "epoch 1/1  30%  loss 2.5\n"

    def test_terminal_shows_a_bar_and_messages(self):
        screen = console(terminal=True, width=120)
        with TrainingProgress(10, 10, console=screen) as bar:
            bar.show(3, {"loss": 2.5}, 99.0)
            bar.message("new best: NDCG@20 [0.1234]")
        assert "epoch 1/1  30%" in output(screen)
        assert "━" in output(screen)
        assert "new best: NDCG@20 [0.1234]" in output(screen)

    def test_errors_pass_through(self):
        with (
            pytest.raises(KeyError),
            TrainingProgress(10, 10, console=console(terminal=True)) as bar,
        ):
            bar.show(1, {"loss": float("nan")})
            raise KeyError

    @pytest.mark.parametrize("terminal", [False, True])
    def test_costs_nothing_per_step(self, terminal):
        with TrainingProgress(10_000, 10_000, console=console(terminal)) as bar:
            parts = {"ce": 1.0, "contrastive": 2.0}
            bar.show(1, parts, 1000.0)
            best = float("inf")
            for _ in range(5):
                start = time.perf_counter()
                for step in range(2, 1000):
                    bar.show(step, parts, 1000.0)
                best = min(best, (time.perf_counter() - start) / 1000)
            assert best < 50e-6


class TestBytes:
    def shown(self, total, done=0, terminal=False):
        screen = console(terminal, width=100)
        with ByteProgress("file.gz", total, done, screen) as bar:
            bar.advance(2_000_000)
            bar.advance(1_000_000)
        return output(screen)

    def test_quick_work_is_silent_outside_a_terminal(self):
        assert self.shown(3_000_000) == ""

    @pytest.mark.parametrize(
        ("total", "lines"),
        [(5_000_000, ["3 of 5 MB", "4 of 5 MB"]), (None, ["3 MB", "4 MB"])],
    )
    def test_slow_work_says_how_far_it_is(self, monkeypatch, total, lines):
        monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
        shown = self.shown(total, done=1_000_000)
        assert shown.splitlines() == [f"file.gz: {line}" for line in lines]

    @pytest.mark.parametrize("total", [5_000_000, None])
    def test_a_terminal_gets_a_bar(self, total):
        shown = self.shown(total, terminal=True)
        assert "file.gz" in shown
        assert "━" in shown


SUMMARY = {
    "method": "prl",
    "backbone": "sasrec",
    "steps": 2,
    "dataset": "demo",
    "data": {"users": 3000, "items": 400, "interactions": 65432},
    "best_epoch": 7,
    "train": {"targets_per_second": 1460.4},
    "popularity": {"ndcg@10": 0.0101, "mrr": 0.0102},
    "test": {"ndcg@10": 0.2, "ndcg@20": 0.22, "recall@10": 0.3, "recall@20": 0.33, "mrr": 0.18},
    "test_by_step": [{"step": k, "ndcg@10": 0.15 + k / 40} for k in range(3)],
    "test_best_step_in_hindsight": {"ndcg@10": 0.25},
    "best_possible": {"ndcg@10": 0.4},
    "notes": ["Seen items excluded.", "Sample of 1,000 users."],
}


class TestTable:
    def rows(self, summary: dict) -> dict[str, list[str]]:
        screen = console(terminal=False)
        print_results(summary, screen)
        lines = output(screen).splitlines()
        assert all(len(line) <= 80 for line in lines)
        split = [[cell for cell in line.split("  ") if cell.strip()] for line in lines]
        return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in split if row}

    def test_every_row_has_its_numbers(self):
        rows = self.rows(SUMMARY)
        assert rows["Test"] == ["NDCG@10", "NDCG@20", "Recall@10", "Recall@20", "MRR"]
        assert rows["popularity"] == ["0.0101", "-", "-", "-", "0.0102"]
        assert rows["step 0 (no reasoning)"][0] == "0.1500"
        assert rows["step 2"][0] == "0.2000"
        assert rows["final representation"] == ["0.2000", "0.2200", "0.3000", "0.3300", "0.1800"]
        assert rows["best step in hindsight"][0] == "0.2500"
        assert rows["best possible"][0] == "0.4000"
        assert "50% of the best possible NDCG@10." in rows
        assert {"Seen items excluded.", "Sample of 1,000 users."} <= rows.keys()

    def test_model_without_reasoning_has_one_row(self):
        rows = self.rows(SUMMARY | {"method": "base", "steps": 0, "test_by_step": [{"step": 0}]})
        assert not any(name.startswith(("step", "best step")) for name in rows)

    def test_least_summary(self):
        assert self.rows({"test": {"ndcg@10": 0.5}})["final representation"][0] == "0.5000"
