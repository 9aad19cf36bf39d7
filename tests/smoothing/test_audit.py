"""The audit finds planted faults, and finds none where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from certify.smoothing.audit import Finding, audit, infer
from certify.smoothing.confidence import clopper_pearson
from certify.smoothing.logs import Log, Row
from certify.smoothing.radius import gaussian

SIGMA, N, ALPHA = 0.25, 100_000, Fraction(1, 1000)


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


def faults(findings: Sequence[Finding]) -> str:
    return " / ".join(finding.text for finding in findings if finding.fault)


def test_an_honest_log_has_no_faults() -> None:
    assert faults(audit(log(), SIGMA, N, ALPHA)) == ""
    assert audit(log(), SIGMA, N, ALPHA)[-1].text == "the radii agree with n = 100000, alpha = 0.001"


@pytest.mark.parametrize(
    ("n", "alpha"), [(100_000, "0.001"), (100_000, "0.01"), (10_000, "0.001"), (1_000, "0.01"), (1_000, "0.001")]
)
def test_n_and_alpha_are_inferred_from_the_radii(n: int, alpha: str) -> None:
    found = infer(log(n, Fraction(alpha)).radii_as_written, SIGMA)
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
    assert any("no lattice" in finding.text for finding in findings)


def test_an_empty_log_is_a_fault() -> None:
    assert faults(audit(Log("x.tsv", (), ()))) == "no rows"


def test_a_changed_radius_or_count_in_json_lines_is_found(tmp_path: Path) -> None:
    import json

    from certify.smoothing.logs import read_log

    counts = [9990, 10]
    from certify.smoothing.conclusion import conclude

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

    def findings(entry: dict) -> str:
        (tmp_path / "x.jsonl").write_text(json.dumps(header) + "\n" + json.dumps(entry) + "\n")
        return faults(audit(read_log(tmp_path / "x.jsonl")))

    assert findings(entry) == ""
    assert "the counts give" in findings(entry | {"radius": found.radius * 1.1})
    assert "the counts give" in findings(entry | {"alpha": "1/10000"})
    assert "not as the header says" in findings(entry | {"counts": [[99900, 100]]})
