"""What ends an evaluation: signals, but none that it was started with ignored."""

import signal

import pytest

from training.evaluate import __main__ as evaluate

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
def test_commands_end_in_order_or_go_on(monkeypatch, tmp_path, number, ignored):
    if ignored:
        signal.signal(number, signal.SIG_IGN)

    def work(*_, **__):
        signal.raise_signal(number)
        return []

    monkeypatch.setattr(evaluate, "_evaluate", work)
    arguments = ["mixture", "--data", "tree", "--out", str(tmp_path / "report")]
    assert evaluate.main(arguments) == (0 if ignored else 130)
