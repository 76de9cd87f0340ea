"""The benchmark of the metrics does its work on small signals."""

import pytest

from benchmarks import metrics


def test_agreement_of_a_track(rng):
    references = dict(zip("ab", rng.standard_normal((2, 2100, 1)), strict=True))
    estimates = {name: signal + 0.1 for name, signal in references.items()}
    row = metrics.compare("museval", references, estimates, 1000)
    assert row["frames"] == 2
    assert max(row["difference"]) < 1e-6
    assert max(row["itself"]) < 1e-6
    text = metrics.summary([row, {"track": "x", "refused": "silent"}])
    assert "1 comparisons, 2 frames; museval refused 1" in text
    same = metrics.museval_scores("museval", references, estimates, 1000)
    assert metrics.largest(same + 0.5, same) == pytest.approx([0.5] * 4)


@pytest.mark.parametrize("given", [["cost"], ["agreement", "DATA"]])
def test_a_file_that_cannot_be_written_is_reported_before_the_work(given, tmp_path, capsys):
    with pytest.raises(SystemExit):
        metrics.main([*given, "--json", str(tmp_path / "gone" / "all.json")])
    assert "--json: must name a new file in a folder that exists" in capsys.readouterr().err
