"""Training side by side as if alone, and going on after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from certify.kernels.votes_reference import ABSTAIN, MISSING
from certify.poisoning.boosting import BoostedLearner
from certify.poisoning.isolation import check_isolation
from certify.poisoning.learner import Job, Learner, SklearnLearner
from certify.poisoning.linear_learner import DualRidgeLearner, RidgeLearner
from certify.poisoning.partition import content
from certify.poisoning.spread import Spread, disjoint, finite
from certify.poisoning.store import FolderStore, MemoryStore, Store, VoteFile
from certify.poisoning.targets import Classes
from certify.poisoning.torch_learner import TorchLearner, adam, seatings
from certify.poisoning.training import Ensemble, TrainingSet

X, Y = load_digits(return_X_y=True)
X, Y = X[:400] / 16, Y[:400].astype(np.int64)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
    )


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Linear(16, 10))


LEARNERS: dict[str, Learner] = {
    "trees": SklearnLearner(DecisionTreeClassifier(max_features=4)),
    "ridge": RidgeLearner(),
    "dual ridge": DualRidgeLearner(),
    "mlp": TorchLearner(mlp, steps=6, batch=8, chunk=4),
    "conv": TorchLearner(conv, steps=4, batch=8, chunk=4, optimizer=adam),
    "boosted mlp": BoostedLearner(TorchLearner(mlp, steps=3, batch=8, chunk=4), 2),
}


def ensemble(learner: Learner, spread: Spread, store: Store | None = None) -> Ensemble:
    data = TrainingSet(X, Y, Classes(10), content(X, Y, spread.units))
    return Ensemble(learner, data, spread, 0, MemoryStore() if store is None else store)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("spread", [disjoint(10), finite(5, 2)], ids=["dpa", "fa"])
def test_changing_one_bucket_changes_only_the_classifiers_that_see_it(name: str, spread: Spread) -> None:
    found = check_isolation(ensemble(LEARNERS[name], spread), bucket=3)
    assert found.leaks.size == 0
    assert found.changed.tolist() == spread.seeing(3).tolist()


def test_a_learner_that_looks_at_other_buckets_is_caught() -> None:
    class Leaky(RidgeLearner):
        def fit(self, X: np.ndarray, y: np.ndarray, classes: int, jobs: list[Job]) -> list[np.ndarray]:
            return [model + y.sum() for model in super().fit(X, y, classes, jobs)]

    assert len(check_isolation(ensemble(Leaky(), disjoint(10)), bucket=3).leaks) == 9


@pytest.mark.parametrize("name", LEARNERS)
def test_models_survive_the_store(name: str, tmp_path: Path) -> None:
    one, two = ensemble(LEARNERS[name], disjoint(8), FolderStore(tmp_path)), ensemble(LEARNERS[name], disjoint(8))
    assert one.train() == two.train() == 8
    assert one.train() == 0
    assert np.array_equal(one.scores(X, range(8)), two.scores(X, range(8)))


def test_workers_share_a_store(tmp_path: Path) -> None:
    parts = [ensemble(RidgeLearner(), disjoint(8), FolderStore(tmp_path)).train(range(i, 8, 3)) for i in range(3)]
    assert parts == [3, 3, 2]
    assert ensemble(RidgeLearner(), disjoint(8), FolderStore(tmp_path)).train() == 0


def test_a_damaged_model_is_trained_again(tmp_path: Path) -> None:
    trained = ensemble(RidgeLearner(), disjoint(4), FolderStore(tmp_path))
    trained.train()
    path = tmp_path / trained.keys[2][:2] / trained.keys[2]
    path.write_bytes(path.read_bytes()[:-3])
    assert trained.train() == 1


def test_settings_of_the_learner_name_the_models() -> None:
    keys = [ensemble(learner, disjoint(2)).keys for learner in (RidgeLearner(1.0), RidgeLearner(2.0), *LEARNERS.values())]
    assert len({key for pair in keys for key in pair}) == 2 * len(keys) - 2


def test_statistics_that_add_give_the_same_answers_as_least_squares_on_the_union() -> None:
    spread = finite(4, 3)
    together = ensemble(RidgeLearner(penalty=0.5), spread)
    together.train()
    job = together.job(5)
    rows = np.concatenate([X[job.samples], np.ones((len(job.samples), 1))], axis=1)
    penalty = np.diag([0.5] * 64 + [0.0]) + 1e-9 * len(rows) * np.eye(65)
    direct = np.linalg.solve(rows.T @ rows + penalty, rows.T @ np.eye(10)[Y[job.samples]])
    scores = together.scores(X, [5])[0]
    assert np.allclose(scores, np.concatenate([X, np.ones((400, 1))], axis=1) @ direct, atol=1e-6)


@pytest.mark.parametrize("factory", [mlp, conv])
def test_stacked_training_is_training_one_by_one_up_to_rounding(factory: object) -> None:
    """The chunk is compared with a plain loop of torch over each network alone."""
    learner = TorchLearner(factory, steps=5, batch=8, chunk=4)  # type: ignore[arg-type]
    trained = ensemble(learner, disjoint(4))
    jobs = [trained.job(b) for b in range(4)]
    for job, model in zip(jobs, learner.fit(X, Y, 10, jobs), strict=True):
        for name, weight in plain_training(learner, job).items():
            assert torch.allclose(model[name], weight, atol=1e-5)


def plain_training(learner: TorchLearner, job: Job) -> dict[str, torch.Tensor]:
    from certify.poisoning.torch_learner import draws, seeded

    network = seeded(learner.factory, job.seed)
    optimizer = learner.optimizer(list(network.parameters()))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, learner.steps)
    for index in draws(job, learner.steps, learner.batch):
        optimizer.zero_grad()
        x, target = torch.as_tensor(X[index], dtype=torch.float32), torch.as_tensor(Y[index])
        nn.functional.cross_entropy(network(x), target).backward()
        optimizer.step()
        schedule.step()
    return {name: weight.detach() for name, weight in network.state_dict().items()}


def test_running_statistics_are_refused() -> None:
    with pytest.raises(ValueError, match="use GroupNorm instead of BatchNorm"):
        ensemble(TorchLearner(normalised, steps=1, batch=4, chunk=2), disjoint(2)).train()


def test_a_classifier_always_has_the_same_slot() -> None:
    jobs = [Job(b, 0, ()) for b in (9, 1, 5, 2, 3)]
    seats = list(seatings(jobs, 4))
    assert all(job.classifier % 4 == slot for slots in seats for slot, job in slots.items())
    assert sorted(job.classifier for slots in seats for job in slots.values()) == [1, 2, 3, 5, 9]


def test_ballots_are_taken_up_where_they_stopped(tmp_path: Path) -> None:
    trained = ensemble(RidgeLearner(), disjoint(6))
    trained.train()
    path = tmp_path / "votes.npy"
    file = VoteFile.open(path, 6, 400)
    file.cast(2, trained.votes(X).ballots[2])
    assert file.missing().tolist() == [0, 1, 3, 4, 5]
    trained.cast(X, VoteFile.open(path, 6, 400))
    assert np.array_equal(np.load(path), trained.votes(X).ballots)
    assert np.load(path).max() < MISSING
    with pytest.raises(ValueError, match="remove it to vote again"):
        VoteFile.open(path, 6, 399)


def test_a_classifier_whose_scores_are_no_numbers_abstains() -> None:
    class Diverging(RidgeLearner):
        def scores(self, models: list[np.ndarray], X: np.ndarray) -> np.ndarray:
            scores = super().scores(models, X)
            scores[:, 0, 3] = np.nan
            return scores

    trained = ensemble(Diverging(), disjoint(4))
    trained.train()
    for votes in (trained.votes(X), trained.rankings(X)):
        assert (votes.ballots == ABSTAIN).all(axis=0).tolist() == [True] + [False] * 399


def test_voting_before_training_is_refused() -> None:
    with pytest.raises(ValueError, match="4 classifiers are not trained"):
        ensemble(RidgeLearner(), disjoint(4)).votes(X)


SLOW = """
import sys, time
from tests.poisoning import test_training as t
from certify.poisoning.store import FolderStore
from certify.poisoning.spread import disjoint
class Slow(FolderStore):
    def put(self, key, model):
        super().put(key, model)
        print("stored", flush=True)
        time.sleep(0.05)
t.ensemble(t.RidgeLearner(), disjoint(40), Slow(sys.argv[1])).train()
"""


def test_training_goes_on_after_kill_9_and_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)], stdout=subprocess.PIPE, cwd=root, env=environment)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed, straight = ensemble(RidgeLearner(), disjoint(40), FolderStore(tmp_path)), ensemble(RidgeLearner(), disjoint(40))
    assert 0 < resumed.train() < 40
    straight.train()
    assert np.array_equal(resumed.scores(X, range(40)), straight.scores(X, range(40)))
