"""The audit finds planted faults, and finds none where there are none."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from certify.smoothing.audit import Finding, audit
from certify.smoothing.conclusion import conclude
from certify.smoothing.confidence import clopper_pearson
from certify.smoothing.decision import Decision, RadiusTest
from certify.smoothing.lattice import infer
from certify.smoothing.logs import Log, Row, read_log
from certify.smoothing.radius import dual, gaussian
from certify.smoothing.run import decision_record

SIGMA, HALVES, N, ALPHA = 0.25, 0.18, 100_000, Fraction(1, 1000)


def log(n: int = N, alpha: Fraction = ALPHA, *, times: int = 1, rows: int = 500, skip: int = 20) -> Log:
    """A log as Cohen's code writes it, from n samples counted `times` times, on networks that are sure of most inputs."""
    rng = np.random.default_rng(0)
    entries, written = [], []
    for i in range(rows):
        p = 1 - float(rng.exponential(0.003)) if rng.random() < 0.6 else float(rng.uniform(0.5, 1))
        hits = int(rng.binomial(n, p))
        radius = gaussian(clopper_pearson(hits * times, n * times, float(alpha)), SIGMA)
        written.append(f"{radius:.3}")
        entries.append(Row(i * skip, i % 10, i % 10 if radius > 0 else -1, float(written[-1]), int(radius > 0), 1.0))
    return Log("x.tsv", tuple(entries), tuple(written))


def dual_log(n: int, level: Fraction, combine: Callable[[float, float], float], times: int = 1) -> Log:
    """A log of dual smoothing, each half bounded at error probability `level`."""
    rng = np.random.default_rng(1)
    written = []
    for _ in range(400):
        hits = rng.binomial(n, 1 - rng.exponential(0.003, size=2).clip(0, 0.4))
        left, right = (clopper_pearson(int(k) * times, n * times, float(level)) for k in hits)
        written.append(f"{combine(left, right):.3}")
    return Log("x.tsv", tuple(Row(i, 0, 0, float(text), 1, 1.0) for i, text in enumerate(written)), tuple(written))


def sound(left: float, right: float) -> float:
    return dual(left, right, HALVES, HALVES)


def published(left: float, right: float) -> float:
    return math.hypot(gaussian(left, HALVES), gaussian(right, HALVES))


def faults(findings: Sequence[Finding]) -> str:
    return " / ".join(finding.text for finding in findings if finding.fault)


def test_an_honest_log_has_no_faults() -> None:
    assert faults(audit(log(), SIGMA, N, ALPHA)) == ""
    assert audit(log(), SIGMA, N, ALPHA)[-1].text == "the radii agree with n = 100000, alpha = 0.001"


@pytest.mark.parametrize(
    ("n", "alpha"), [(100_000, "0.001"), (100_000, "0.01"), (10_000, "0.001"), (1_000, "0.01"), (1_000, "0.001")]
)
def test_n_and_alpha_are_inferred_from_the_radii(n: int, alpha: str) -> None:
    found = infer([text for text in log(n, Fraction(alpha)).radii_as_written if float(text) > 0], SIGMA).claims
    assert (found[0].n, found[0].alpha, found[0].repeat) == (n, Fraction(alpha), 1)


def test_counts_multiplied_by_a_hundred_are_found() -> None:
    text = faults(audit(log(1_000, times=100), SIGMA, N, ALPHA))
    assert "n = 1000, alpha = 0.001, each sample counted 100 times" in text


def test_an_alpha_ten_times_larger_than_stated_is_found() -> None:
    text = faults(audit(log(alpha=Fraction(1, 100)), SIGMA, N, ALPHA))
    assert "radii exceed 0.95" in text
    assert "n = 100000, alpha = 0.01" in text


def test_rows_cut_out_and_cut_off_are_found() -> None:
    whole = log()
    rows = whole.rows[:100] + whole.rows[117:427]
    findings = audit(Log("x.tsv", rows, tuple(str(row.radius) for row in rows)))
    assert "17 rows are missing" in faults(findings)
    assert any("cut off?" in finding.text for finding in findings)
    assert not any("cut off?" in finding.text for finding in audit(whole))


def test_duplicates_running_totals_and_abstentions_with_a_radius_are_found() -> None:
    rows = log(rows=50).rows
    repeated = (*rows, rows[3])
    total = tuple(Row(r.idx, r.label, r.predict, r.radius, i + 1, r.seconds) for i, r in enumerate(rows))
    kept = (Row(0, 1, -1, 0.5, 0, None), *rows[1:])
    for changed, said in ((repeated, "more than once"), (total, "running total"), (kept, "abstentions have a positive radius")):
        assert said in faults(audit(Log("x.tsv", changed, tuple(str(r.radius) for r in changed))))


def test_radii_from_another_formula_lie_on_no_lattice() -> None:
    source = log()
    written = tuple(f"{float(text) * 1.13:.3}" for text in source.radii_as_written)
    rows = tuple(Row(r.idx, r.label, r.predict, float(t), r.correct, None) for r, t in zip(source.rows, written, strict=True))
    findings = audit(Log("x.tsv", rows, written), SIGMA)
    assert any("no common n and alpha" in finding.text for finding in findings)


def test_an_empty_log_is_a_fault() -> None:
    assert faults(audit(Log("x.tsv", (), ()))) == "no rows"


@pytest.mark.parametrize("n", [1_000, 100_000])
def test_an_honest_dual_log_has_no_faults(n: int) -> None:
    findings = audit(dual_log(n, ALPHA / 2, sound), HALVES, n, ALPHA, "dual")
    assert faults(findings) == ""
    assert any(f"agree with n = {n}, alpha = 0.001, two halves at alpha/2" in finding.text for finding in findings)


def test_the_published_combination_of_halves_is_found_and_so_are_its_repeated_counts() -> None:
    """As in the logs of the published code: 1,000 samples counted as 100,000, and the root of the squares."""
    text = faults(audit(dual_log(1_000, ALPHA, published, times=100), HALVES, 100_000, ALPHA, "dual"))
    assert "the root of the sum of two halves' squared radii, which is no certificate, each sample counted 100 times" in text
    assert "n = 1000, alpha = 0.001" in text


def test_halves_that_take_the_whole_alpha_each_are_found() -> None:
    text = faults(audit(dual_log(1_000, ALPHA, sound), HALVES, 1_000, ALPHA, "dual"))
    assert "two halves at alpha each, which may err twice as often as stated" in text


def json_faults(folder: Path, header: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    (folder / "x.jsonl").write_text(json.dumps(header) + "\n" + json.dumps(entry) + "\n")
    return faults(audit(read_log(folder / "x.jsonl")))


def test_a_changed_radius_or_count_in_json_lines_is_found(tmp_path: Path) -> None:
    counts = [9990, 10]
    found = conclude([counts], 0, ALPHA, [SIGMA], [0.0])
    entry = {
        **{
            "idx": 0,
            "label": 0,
            "predict": 0,
            "radius": found.radius,
            "seconds": 1.0,
            "norm": 2.0,
            "candidate": 0,
            "counts": [counts],
        },
        **{"selection": [[100, 0]], "alpha": "1/1000", "variant": "pa", "bound": "cp", "scales": [SIGMA], "slacks": [0.0]},
        **{"arithmetic": "real", "dimension": 4, "seed": 0, "p_lower": found.p_lower, "p_upper": found.p_upper},
    }
    header = {"schema": "certify.smooth/1", "settings": {"n": 10_000, "alpha": "1/1000"}}

    def findings(entry: dict[str, Any]) -> str:
        return json_faults(tmp_path, header, entry)

    assert findings(entry) == ""
    assert "the counts give" in findings(entry | {"radius": found.radius * 1.1})
    assert "the counts give" in findings(entry | {"alpha": "1/10000"})
    assert "not as the header says" in findings(entry | {"counts": [[99900, 100]]})


@pytest.mark.parametrize(
    ("variant", "scales", "hits", "near"),
    [("pa", (SIGMA,), (1000,), 850), ("dual", (SIGMA, SIGMA), (1000, 990), 765)],
    ids=["one part", "dual"],
)
def test_a_changed_sequential_record_is_found(
    tmp_path: Path, variant: str, scales: tuple[float, ...], hits: tuple[int, ...], near: int
) -> None:
    test = RadiusTest(0.25, variant, "betting", ALPHA, ALPHA, 1000, scales, (0.0,) * len(scales))
    decision = Decision("yes", 3, hits, 1000, 1100 * len(hits), test, "integer", 4, 0, 7)
    entry = dict(decision_record(decision, 7, 3, torch.zeros(4), 1.0))
    header = {"schema": "certify.smooth/1", "settings": {"n": 1000, "alpha": "1/1000", "radius": "1/4"}}

    def findings(**changed: object) -> str:
        return json_faults(tmp_path, header, entry | changed)

    assert findings() == ""
    assert "mean 'no', the log says 'yes'" in findings(hits=[300] * len(hits))
    assert "mean 'undecided" in findings(hits=[near] * len(hits))
    assert "undecided before the budget" in findings(hits=[5] * len(hits), n=6)
    assert "are not those of the answer" in findings(radius=0.3)
    assert "cannot have given 1000 samples" in findings(drawn=900)
    assert "not what the header says" in findings(alpha="1/100")
    assert "not what the header says" in findings(radius_asked=0.2, radius=0.2)
