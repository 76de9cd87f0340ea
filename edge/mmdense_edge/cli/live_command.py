"""The command `mmdense live`: puts input, engine and output together."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmdense_edge.errors import AudioError, CardStopped, UsageError
from mmdense_edge.live import drivers, sound_card
from mmdense_edge.live.controls import Controls, help_line
from mmdense_edge.live.engine import LiveEngine
from mmdense_edge.live.input import STDIN, LiveInput, limited, open_file, open_stdin
from mmdense_edge.live.keys import keys
from mmdense_edge.live.mixer import Mixer, parse_mix
from mmdense_edge.live.output import FileSink, NullSink, Sink, StreamSink
from mmdense_edge.live.plan import make_plan, time_window
from mmdense_edge.live.stats import LiveReport
from mmdense_edge.separator import Separator

MIN_BLOCK, MAX_BLOCK = 64, 16384
CARD, NULL, STREAM = "card", "null", "-"


def run(arguments: argparse.Namespace) -> int:
    """Runs the command and returns the exit code; see `mmdense live --help`."""
    if arguments.devices:
        print(sound_card.listing())
        return 0
    _check(arguments)
    separator = Separator(arguments.model, arguments.threads)
    gains = parse_mix(arguments.mix, separator.sources)
    card = _card(arguments, separator.contract.sample_rate)
    source = _source(arguments, card)
    engine = _engine(arguments, separator, source, Mixer(gains, source.sample_rate))
    with _sink(arguments, source) as sink:
        Run(arguments, engine, source, sink, card).run()
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if not MIN_BLOCK <= arguments.block <= MAX_BLOCK:
        raise UsageError(
            f"--block must be from {MIN_BLOCK} to {MAX_BLOCK} samples, got {arguments.block}"
        )
    if arguments.seconds is not None and not 0 < arguments.seconds < math.inf:
        raise UsageError(f"--seconds must be more than 0 and finite, got {arguments.seconds:g}")
    if arguments.pace == "fast" and CARD in (arguments.input, arguments.output):
        raise UsageError("--pace fast has no use for a sound card: give a file or - and --output")
    for option, value in (("--rate", arguments.rate), ("--channels", arguments.channels)):
        if value is not None and arguments.input not in (STREAM, CARD):
            raise UsageError(f"{option} is for raw samples and sound cards: a file has its own")
    if arguments.input == STREAM and arguments.rate is None and arguments.channels is not None:
        raise UsageError("--channels is for raw samples, which need --rate: a WAV has its own")


def _card(arguments: argparse.Namespace, model_rate: int) -> sound_card.Card | None:
    """Returns the sound card that is asked for, in the form of the input if that is a file."""
    records = arguments.input_device if arguments.input == CARD else None
    plays = arguments.output_device if arguments.output == CARD else None
    if records is None and plays is None:
        return None
    if arguments.input == STREAM:
        raise UsageError("stdin cannot be played to a sound card directly: pipe --output - on")
    rate, channels = arguments.rate, arguments.channels
    if records is None:
        source = open_file(Path(arguments.input), arguments.block)
        rate, channels = source.sample_rate, source.channels
    return sound_card.Card(
        records,
        plays,
        model_rate=model_rate,
        rate=rate,
        channels=channels,
        block=arguments.block,
    )


def _limit(arguments: argparse.Namespace, sample_rate: int) -> int | None:
    seconds = arguments.seconds
    return None if seconds is None else max(1, round(seconds * sample_rate))


def _source(arguments: argparse.Namespace, card: sound_card.Card | None) -> LiveInput:
    source = _whole_source(arguments, card)
    return limited(source, _limit(arguments, source.sample_rate))


def _whole_source(arguments: argparse.Namespace, card: sound_card.Card | None) -> LiveInput:
    if arguments.input == STREAM:
        channels = arguments.channels or 2
        return open_stdin(arguments.block, arguments.rate, channels, arguments.sample_format)
    if arguments.input == CARD and card is not None:
        return LiveInput("card", card.sample_rate, card.channels, iter(()))
    return open_file(Path(arguments.input), arguments.block)


def _engine(
    arguments: argparse.Namespace, separator: Separator, source: LiveInput, mixer: Mixer
) -> LiveEngine:
    contract, paced = separator.contract, arguments.pace == "real"
    step = arguments.step_frames
    if step is None and not paced:
        step = contract.step_frames
    plan = make_plan(
        contract,
        source.sample_rate,
        source.channels,
        block=arguments.block,
        step_frames=step,
        lookahead_frames=arguments.lookahead,
        buffer_seconds=arguments.buffer,
        window_seconds=time_window(separator.network) if step is None else 0.0,
    )
    return LiveEngine(separator.network, plan, mixer, paced)


@contextmanager
def _sink(arguments: argparse.Namespace, source: LiveInput) -> Iterator[Sink]:
    """Gives the output; what was written stays, unless something failed."""
    sink: Sink = NullSink()
    if arguments.output == STREAM:
        sink = StreamSink(sys.stdout.fileno(), arguments.sample_format)
    elif arguments.output not in (CARD, NULL):
        path = Path(arguments.output)
        if _reads(arguments, path):
            raise UsageError(f"{path} is read and would be replaced: choose another --output")
        rate, channels, length = source.sample_rate, source.channels, source.num_samples
        sink = FileSink(path, rate, channels, length, arguments.overwrite)
    keep = False
    try:
        yield sink
        keep = True
    except (KeyboardInterrupt, SystemExit, CardStopped):
        keep = True
        raise
    finally:
        sink.close(keep)


def _reads(arguments: argparse.Namespace, path: Path) -> bool:
    """Tells whether a file is the input, perhaps as what the standard input was taken from."""
    if arguments.input == CARD or not path.exists():
        return False
    read = os.fstat(STDIN) if arguments.input == STREAM else os.stat(arguments.input)
    return os.path.samestat(path.stat(), read)


@dataclass
class Run:
    """One live run.

    Args:
        arguments: of the command.
        engine: the engine.
        source: the input.
        sink: the output, where it is no sound card.
        card: the sound card, if one takes part.
    """

    arguments: argparse.Namespace
    engine: LiveEngine
    source: LiveInput
    sink: Sink
    card: sound_card.Card | None

    def run(self) -> None:
        """Runs to the end of the input, or until it is ended; prints the report in any case."""
        arguments, engine = self.arguments, self.engine
        if not arguments.quiet:
            self._say(f"{self.source.name}: {engine.mixer.describe()}")
            self._say(engine.plan.describe() if engine.paced else "not paced: no latency")
        with keys(sys.stdin) as read_key:
            try:
                self._drive(read_key)
            finally:
                if engine.player.counts.captured and not arguments.quiet:
                    self.show(self.report())
        if not engine.player.counts.captured and arguments.input != CARD:
            raise AudioError(f"{self.source.name}: audio must have at least 1 sample, got 0")

    def report(self) -> LiveReport:
        """Returns the figures up to now."""
        report = replace(self.engine.report(), clipped=self.sink.clipped)
        if self.card is None:
            return report
        card = self.card
        return replace(report, device_faults=card.faults, device_seconds=card.delay_seconds)

    def show(self, report: LiveReport) -> None:
        """Prints a report: on stderr where stdout carries samples."""
        stream = sys.stderr if self.arguments.output == STREAM else sys.stdout
        text = report.json_line() if self.arguments.json else report.text()
        print(text, file=stream, flush=True)

    def _say(self, text: str) -> None:
        print(f"mmdense: {text}", file=sys.stderr, flush=True)

    def _drive(self, read_key: Any) -> None:
        engine, blocks = self.engine, self.source.blocks
        if not engine.paced:
            controls = self._controls(read_key, lambda: None)
            try:
                drivers.run_fast(engine, blocks, self.sink.write, controls.poll)
            finally:
                controls.clear()
            return
        with drivers.worker(engine) as check:
            controls = self._controls(read_key, check)
            try:
                self._pace(controls)
            finally:
                controls.clear()

    def _pace(self, controls: Controls) -> None:
        engine, blocks, write = self.engine, self.source.blocks, self.sink.write
        if self.card is not None:
            recorded = self.arguments.input == CARD
            played = self.arguments.output == CARD
            drivers.run_card(
                engine,
                self.card,
                None if recorded else blocks,
                None if played else write,
                controls.poll,
                limit=_limit(self.arguments, engine.plan.sample_rate),
            )
            return
        waits = self.arguments.input == STREAM
        speed = drivers.STDIN_SPEED if waits else 1.0
        drivers.run_paced(engine, blocks, write, controls.poll, speed=speed, waits=waits)

    def _controls(self, read_key: Any, check: Any) -> Controls:
        if sys.stdin.isatty() and not self.arguments.quiet:
            self._say(help_line(self.engine.mixer))
        return Controls(
            self.engine,
            read_key,
            sys.stderr,
            report=self.report,
            show_report=self.show,
            check=check,
            quiet=self.arguments.quiet,
        )
