"""The benchmarks of the metrics do their work on small signals."""

import json

import numpy as np
import pytest

from benchmarks import bench_metrics, museval_agreement


def test_agreement_of_a_track(rng):
    references = dict(zip("ab", rng.standard_normal((2, 2100, 1)), strict=True))
    estimates = {name: signal + 0.1 for name, signal in references.items()}
    row = museval_agreement.compare("museval", references, estimates, 1000)
    assert row["frames"] == 2
    assert max(row["difference"]) < 1e-6
    assert max(row["itself"]) < 1e-6
    text = museval_agreement.summary([row, {"track": "x", "refused": "silent"}])
    assert "1 comparisons, 2 frames; museval refused 1" in text
    estimates["a"] = estimates["a"] * np.linspace(1, 2, 2100)[:, None]
    other = museval_agreement.our_scores(
        museval_agreement.METRICS["museval"].score(references, estimates, 1000)
    )
    same = museval_agreement.museval_scores("museval", references, estimates, 1000)
    assert max(museval_agreement._largest(other, same)) < 1e-6
    assert museval_agreement._largest(other + 0.5, same) == pytest.approx([0.5] * 4, abs=1e-5)


@pytest.mark.parametrize("main", [bench_metrics.main, museval_agreement.main])
def test_a_file_that_cannot_be_written_is_told_before_the_work(main, tmp_path):
    path = tmp_path / "gone" / "all.json"
    arguments = ["--json", str(path)] + (["DATA"] if main is museval_agreement.main else [])
    with pytest.raises(SystemExit, match="must stand in an existing folder"):
        main(arguments)


def test_a_measured_metric(tmp_path):
    bench_metrics.make_track(tmp_path, 1.25)
    row = bench_metrics.work(str(tmp_path), "usdr", "ours")
    assert row["track_mib"] == 8 * 55125 * 2 * 4 / (1 << 20)
    assert all(0 < value < 30 for value in row["values"])
    assert row["wall_seconds"] > 0
    assert json.loads(json.dumps(row)) == row
    other = {**row, "code": "museval", "cpu_seconds": 4 * row["cpu_seconds"]}
    other["added_mib"], row["added_mib"] = 30.0, 10.0
    text = bench_metrics.table([row, other], 1.25)
    assert "4.0 times the CPU, 3.0 times the memory" in text
