"""Certificates against poisoned training data: votes of classifiers that each see little of it.

A run lives in a folder. `partition` fixes its settings and buckets, `train` and `votes` compute and go on where they were stopped,
`certify` answers, `check` makes a gate of the answer, `audit` says which data it hangs on, `update` changes the training set at
the price of the classifiers that see the change, and `verify` trains some classifiers again to test that they depend on their own
buckets alone.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from certify.cli.files import RECORD, forget, write_whole
from certify.cli.poison_arguments import poison_parser

if TYPE_CHECKING:
    import numpy as np

    from certify.poisoning.certificate import Certificate
    from certify.poisoning.run import Inputs, Run
    from certify.poisoning.training import Ensemble
    from certify.poisoning.votes import Votes

EXAMPLES = """\
  certify poison partition run --data digits --k 50 --learner logistic
  certify poison train run && certify poison votes run --data digits
  certify poison certify run --edits 0 5 10 --json out.json
  certify poison check out.json --min-certified-accuracy 0.80@5
  certify report dpa.json fa.json runoff.json --format html --out curves.html
  certify poison certify run --evasion-eps 0.05 --norm inf --domain 0 1        (learner mlp: both threats at once)
  certify poison demo                                                          DPA, FA and run-off on digits, side by side"""

MET, NOT_MET = 0, 1


def main(argv: Sequence[str]) -> int:
    """Runs one of the sub-commands."""
    if argv[:1] == ["certify"]:
        forget(argv, "--json", RECORD)
    arguments = poison_parser(__doc__, EXAMPLES, _COMMANDS).parse_args(argv)
    return _COMMANDS[arguments.action](arguments)


def partition(arguments: argparse.Namespace) -> int:
    """Fixes settings and buckets of a new run, and prints what the buckets look like."""
    from certify.cli.inputs import load_dataset, said
    from certify.io.units import notes
    from certify.poisoning.run import Inputs, Run, Settings

    data = load_dataset(arguments, arguments.data, arguments.max, "train")
    said(notes(data.units, what="any radius"))
    classes = tuple(arguments.classes or range(10))
    settings = Settings(arguments.k, arguments.d, classes, arguments.learner, arguments.partition, arguments.boost, arguments.seed)
    run = Run.create(arguments.run, settings, Inputs(data.x, data.y, _groups(arguments.groups)), data.units.record())
    print(_summary(run.ensemble()))
    return MET


def train(arguments: argparse.Namespace) -> int:
    """Trains what the store lacks; `--workers i/n` takes every n-th classifier."""
    from certify.cli.progress import progress_bar

    ensemble = _open(arguments).ensemble(arguments.jobs)
    part, parts = arguments.workers
    mine = range(part, ensemble.spread.classifiers, parts)
    with progress_bar("training", len(mine)) as advance:
        trained = ensemble.train(mine, advance)
    print(f"trained {trained} of {len(mine)} classifiers; {len(mine) - trained} were there")
    return MET


def votes(arguments: argparse.Namespace) -> int:
    """Casts all ballots on a test set."""
    from certify.cli.inputs import load_dataset, said
    from certify.cli.progress import progress_bar
    from certify.io.units import difference
    from certify.poisoning.run import Inputs

    run = _open(arguments)
    data = load_dataset(arguments, arguments.data, arguments.max, "test")
    training = run.training.X
    said(difference("test inputs", data.units, "training samples", (float(training.min()), float(training.max()))))
    with progress_bar("votes", run.spread.classifiers) as advance:
        run.vote(run.ensemble(), Inputs(data.x, data.y), advance, data.units.record())
    print(f"{run.spread.classifiers} classifiers voted on {len(data.y)} inputs")
    return MET


def certify(arguments: argparse.Namespace) -> int:
    """Prints certified accuracy at each number of edits, and writes the certificate."""
    from certify.cli.record import file_entry, to_json, versions
    from certify.io.text import read_json

    started = time.perf_counter()
    run = _open(arguments)
    found, extra = _certificate(run, run.ensemble(), arguments)
    print(_curve([("", found)], arguments.edits))
    for line in extra.values():
        print(line["text"])
    if arguments.json:
        record = found.record(range(max(arguments.edits) + 1)) | {"partition": run.partition, "extra": extra}
        record |= {"settings": read_json(run.folder / "run.json"), "units": run.units, "versions": versions()}
        record |= {"training_set": run.ensemble().data.digest(), "time_s": time.perf_counter() - started}
        files = (run.folder / "training.npz", run.votes_folder / "test.npz", run.votes_folder / "votes.npy")
        record |= {"files": [file_entry(file) for file in files]}
        write_whole(arguments.json, to_json(record) + "\n")
    return MET


def check(arguments: argparse.Namespace) -> int:
    """Recounts certified accuracies from the radii in a record; exit code 1 where one is below its limit."""
    from certify.io.text import read_json
    from certify.poisoning.gate import certified_accuracy

    record = read_json(arguments.record)
    met = True
    for share, edits in arguments.min_certified_accuracy:
        found = certified_accuracy(record, edits)
        good = found >= share
        met &= good
        print(f"{'ok' if good else 'FAILED'}: certified accuracy {found:.4f} at {edits} edits, at least {share:g} is asked for")
    return MET if met else NOT_MET


def audit(arguments: argparse.Namespace) -> int:
    """Prints the buckets that most answers hang on."""
    from certify.cli.progress import progress_bar
    from certify.cli.table import table
    from certify.poisoning.audit import audit as worst

    run = _open(arguments)
    ensemble = run.ensemble()
    with progress_bar("attacks", len(run.test.y)) as advance:
        found = worst(_ballots(run, ensemble, arguments.rule), run.spread, arguments.top, arguments.rule, advance)
    rows = [
        (str(u), str(len(ensemble.data.buckets[u])), str(alone), str(together), _sources(run.training, ensemble.data.buckets[u]))
        for u, alone, together in zip(found.buckets, found.changes_alone, found.in_attacks, strict=True)
    ]
    print(table(("bucket", "samples", "answers it changes alone", "smallest attacks with it", "sources"), rows))
    return MET


def update(arguments: argparse.Namespace) -> int:
    """Adds and removes training samples and trains the classifiers that see them: the run is then as if made anew."""
    import numpy as np

    from certify.cli.inputs import load_dataset
    from certify.poisoning.run import Inputs

    run = _open(arguments)
    old = run.training
    gone = _indices(arguments.remove) if arguments.remove else []
    if gone and not 0 <= min(gone) <= max(gone) < len(old.y):
        raise ValueError(f"{arguments.remove}: indices go from 0 to {len(old.y) - 1}")
    kept = np.delete(np.arange(len(old.y)), gone)
    parts = [Inputs(old.X[kept], old.y[kept], None if old.groups is None else old.groups[kept])]
    if arguments.add:
        more = load_dataset(arguments, arguments.add, None, "train")
        parts.append(Inputs(more.x, more.y, _groups(arguments.groups)))
        parts[-1].check_like(old, "added samples")
    if len({part.groups is None for part in parts}) > 1:
        raise ValueError("samples are added with --groups exactly where the run has groups")
    groups = None if old.groups is None else np.concatenate([part.groups for part in parts if part.groups is not None])
    changed = Inputs(np.concatenate([p.X for p in parts]), np.concatenate([p.y for p in parts]), groups)
    retrained = run.replace(changed, arguments.jobs)
    print(f"retrained {retrained} of {run.spread.classifiers} classifiers; `certify poison votes` makes their new votes")
    return MET


def verify(arguments: argparse.Namespace) -> int:
    """Trains some classifiers again, alone and with another bucket changed; exit code 1 where a bit differs that must not."""
    from certify.poisoning.isolation import check_isolation, check_repetition

    ensemble = _open(arguments).ensemble()
    chosen = [round(j * (ensemble.spread.classifiers - 1) / max(arguments.retrain - 1, 1)) for j in range(arguments.retrain)]
    differing = check_repetition(ensemble, sorted(set(chosen)))
    leaks = check_isolation(ensemble, arguments.bucket, sorted(set(chosen))).leaks
    print(f"trained {len(set(chosen))} classifiers again: {len(differing)} differ from the store")
    print(f"changed bucket {arguments.bucket}: {len(leaks)} classifiers felt it that never see it")
    return MET if len(differing) == len(leaks) == 0 else NOT_MET


def demo(arguments: argparse.Namespace) -> int:
    """Certified accuracy of digits against poisoned training samples: DPA, FA and run-off side by side."""
    from certify.poisoning.demo import digits_certificates

    print(_curve(list(digits_certificates()), (0, 1, 2, 5, 10, 15, 20)))
    return MET


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "partition": partition,
    "train": train,
    "votes": votes,
    "certify": certify,
    "check": check,
    "audit": audit,
    "update": update,
    "verify": verify,
    "demo": demo,
}


# --- parts of commands --------------------------------------------------------------------------------------------------------


def _open(arguments: argparse.Namespace) -> Run:
    from certify.poisoning.run import Run

    return Run.open(arguments.run)


def _groups(path: Path | None) -> np.ndarray | None:
    import numpy as np

    from certify.io.text import read_text

    return None if path is None else np.array(read_text(path).splitlines())


def _indices(path: Path) -> list[int]:
    from certify.io.text import read_text

    words = read_text(path).split()
    wrong = next((word for word in words if not re.fullmatch("[0-9]{1,18}", word)), None)
    if wrong is not None:
        raise ValueError(f"{path}: {wrong[:40]!r} is not the index of a sample, a whole number from 0")
    return [int(word) for word in words]


def _summary(ensemble: Ensemble) -> str:
    import numpy as np

    sizes = np.array([len(bucket) for bucket in ensemble.data.buckets])
    single = sum(len(np.unique(ensemble.data.y[bucket])) == 1 for bucket in ensemble.data.buckets)
    buckets = f"{len(ensemble.data.y)} samples in {len(sizes)} buckets of {sizes.min()} to {sizes.max()}"
    return (
        f"{buckets}, {(sizes == 0).sum()} of them empty and {single} with one class only; {ensemble.spread.classifiers} classifiers"
    )


def _sources(training: Inputs, bucket: np.ndarray) -> str:
    import numpy as np

    return "" if training.groups is None else ", ".join(map(str, np.unique(training.groups[bucket])[:5]))


def _certificate(run: Run, ensemble: Ensemble, arguments: argparse.Namespace) -> tuple[Certificate, dict[str, dict]]:
    """The certificate that was asked for, and what else was: each with a line to print."""
    from certify.cli.progress import progress_bar

    if arguments.evasion_eps is not None and arguments.rule != "plurality":
        raise ValueError("votes that count only where they are proved have no run-off certificate; leave out --rule")
    ballots = _ballots(run, ensemble, arguments.rule) if arguments.evasion_eps is None else _proved(run, ensemble, arguments)
    found = run.certify(ballots, arguments.rule, arguments.threat)
    if arguments.evasion_eps is not None:
        region = f"inputs within {arguments.evasion_eps} (l_{arguments.norm:g}) of each test input"
        found = found.assuming(f"every answer holds for all {region}; votes not proved there count for the adversary")
    if arguments.tighten:
        with progress_bar("tightening", len(found.winners)) as advance:
            found = found.tightened(arguments.edits, progress=advance)
    extra: dict[str, dict] = {}
    for edits in arguments.collective:
        share = found.collective_accuracy(edits)
        text = f"one attack of {edits} edits on all inputs together: accuracy at least {100 * share:.1f} %"
        extra[f"collective@{edits}"] = {"accuracy": share, "text": text}
    if arguments.attack is not None:
        attack = found.attack(arguments.attack)
        rivals = " or ".join(map(str, attack.rivals))
        text = f"input {arguments.attack}: poisoning buckets {attack.buckets.tolist()} can turn {attack.winner} into {rivals}"
        extra[f"attack@{arguments.attack}"] = {"buckets": attack.buckets.tolist(), "text": text}
    return found, extra


def _ballots(run: Run, ensemble: Ensemble, rule: str) -> Votes:
    """The votes in the folder, ranked where the rule wants it."""
    from certify.cli.progress import progress_bar

    cast = run.votes(ensemble)
    if rule == "plurality":
        return cast
    with progress_bar("rankings", run.spread.classifiers) as advance:
        return ensemble.rankings(run.test.X, advance)


def _proved(run: Run, ensemble: Ensemble, arguments: argparse.Namespace) -> Votes:
    """The votes of networks that hold for all inputs within reach of a test input."""
    from certify.cli.progress import progress_bar
    from certify.poisoning.evasion import proved_votes

    known = (run.units["test"] or {}).get("domain")
    domain = known if arguments.domain is None else arguments.domain
    region = run.test.X, arguments.evasion_eps, arguments.norm, domain
    run.votes(ensemble)
    with progress_bar("proofs", run.spread.classifiers) as advance:
        return proved_votes(ensemble, *region, method=arguments.method, progress=advance)


def _curve(certificates: Sequence[tuple[str, Certificate]], edits: Sequence[int]) -> str:
    """A table of certified accuracy at each number of edits."""
    from certify.cli.table import table

    header = ("method", "clean", *(f"{size} edits" for size in edits), "median")
    rows = []
    for name, found in certificates:
        accuracies = (f"{100 * share:.1f} %" for share in found.certified_accuracy(edits))
        rows.append((name or found.rule, f"{100 * (found.clean_accuracy() or 0):.1f} %", *accuracies, str(found.median_radius())))
    return table(header, rows)
