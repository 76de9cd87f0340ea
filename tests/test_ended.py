"""What ends training and evaluation: signals, but none that they were started with ignored."""

import signal
from types import SimpleNamespace

import pytest

from training import evaluate, train
from training.train.trainer import _Watch

ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def terminal():
    """Signals as in a terminal, whatever the shell that runs the tests ignores."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize("ignored", [False, True])
def test_the_end_of_a_step_is_waited_for(number, ignored):
    if ignored:
        signal.signal(number, signal.SIG_IGN)
    reached = []

    def steps():
        with _Watch(0, 1).interrupted_between_steps():
            signal.raise_signal(number)
            reached.append(number)

    if ignored:
        steps()
    else:
        with pytest.raises(KeyboardInterrupt):
            steps()
    assert reached == [number]


@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize("ignored", [False, True])
def test_commands_end_in_order_or_go_on(monkeypatch, tmp_path, number, ignored):
    if ignored:
        signal.signal(number, signal.SIG_IGN)

    def work(*_, **__):
        signal.raise_signal(number)
        return 0

    monkeypatch.setattr(evaluate, "_evaluate", work)
    arguments = ["mixture", "--data", "tree", "--out", str(tmp_path / "report")]
    assert evaluate.main(arguments) == (0 if ignored else 130)
    session, distribution = SimpleNamespace(run=work), SimpleNamespace(is_chief=False, workers=1)
    assert train._run(session, tmp_path, False, distribution) == (0 if ignored else 130)
