"""Signals: taken for a while, but not those that are ignored."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from mmdense_edge import signals

pytestmark = pytest.mark.usefixtures("terminal")
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in NUMBERS]


def test_signals_are_taken_for_a_while():
    before = handlers()
    with signals.taken(signal.default_int_handler):
        assert handlers() == [signal.default_int_handler] * 3
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    with signals.taken(signal.SIG_IGN, "SIGTERM", "SIGNONE"):
        assert handlers() == [before[0], signal.SIG_IGN, before[2]]
    assert handlers() == before


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_ignored_stays_so(number):
    signal.signal(number, signal.SIG_IGN)
    assert set(signals.wanted()) == set(NUMBERS) - {number}
    with signals.taken(signal.default_int_handler):
        signal.raise_signal(number)
        assert handlers().count(signal.default_int_handler) == 2
    assert signal.getsignal(number) is signal.SIG_IGN


def test_outside_the_main_thread_none_is_taken():
    before = handlers()

    def elsewhere() -> list[object]:
        with signals.taken(signal.default_int_handler):
            return handlers()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(elsewhere).result() == before
