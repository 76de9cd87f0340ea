"""The command `mmdense live`: connects input, engine and output."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdense_edge.errors import AudioError, refuse_if

if TYPE_CHECKING:
    from mmdense_edge.live import sound_card, stats, streams

MIN_BLOCK, MAX_BLOCK = 64, 16384
CARD, NULL, STREAM = "card", "null", "-"

_DESCRIPTION = """
Separate music while it plays and remix the stems with gains of your choice. INPUT is a file, - for
stdin (WAV, or raw samples if --rate is given), or "card" for a sound card. If the machine cannot
keep up, the unprocessed mixture replaces late stems, with cross-fades, and drop-outs are counted
(rule "pass"). Against drop-outs, use the device pulse on a Linux desktop, a longer --buffer, or a
real-time priority (chrt -f 4 mmdense live ...). On a terminal, keys change the mix: a stem's first
letter mutes or unmutes it, digits choose a named mix, space prints a report, q quits. Messages go
to stderr.
"""


def add_parser(commands: Any, epilog: str) -> None:
    """Add the command to the command line's parser."""
    live = commands.add_parser(
        "live",
        help="separate and remix music while it plays",
        description=_DESCRIPTION,
        epilog=f"{epilog} Ctrl-C quits as q does, and keeps what was written.",
    )
    add = live.add_argument
    add("input", nargs="?", default="card", metavar="INPUT", help="FILE, - or card (default: card)")
    add(
        "--output",
        default="card",
        metavar="OUT",
        help="card, null, - (raw samples on stdout), a .wav or .flac file (default: card)",
    )
    add(
        "--mix",
        default="karaoke",
        metavar="NAME|GAINS",
        help="all, karaoke, drumless, bassless, acapella, drums-only, bass-only, or gains as in "
        "vocals=0,drums=-6dB; stems not named stay at 1 (default: karaoke)",
    )
    add("--model", metavar="NAME|FILE", help="a bundled model or a model file")
    add("--threads", type=int, default=1, metavar="N", help="no more than free cores (default: 1)")
    live.set_defaults(run=run, lost=": what was played so far is kept")
    add("--rate", type=int, metavar="HZ", help="rate of raw samples on stdin, or of the sound card")
    add(
        "--channels",
        type=int,
        choices=(1, 2),
        help="channels of raw samples (default: 2) or the card",
    )
    add(
        "--sample-format",
        choices=("s16le", "f32le"),
        default="s16le",
        help="format of raw samples on stdin and stdout (default: s16le)",
    )
    device = "name or number (see --devices), or pulse for PulseAudio or PipeWire (both devices)"
    add("--input-device", default="", metavar="DEVICE", help=device)
    add("--output-device", default="", metavar="DEVICE", help=device)
    add("--devices", action="store_true", help="list the sound cards and exit")
    add("--seconds", type=float, metavar="S", help="end after S seconds of input")
    add("--overwrite", action="store_true", help="replace an existing output file")
    add("--quiet", action="store_true", help="print warnings and errors only")
    add("--json", action="store_true", help="print reports as JSON, one line each")
    add = live.add_argument_group("latency").add_argument
    add(
        "--pace",
        choices=("real", "fast"),
        default="real",
        help="real: in real time; fast: as fast as possible, for files (default: real)",
    )
    add(
        "--step-frames",
        type=int,
        metavar="N",
        help="new frames per window (default with real: enough to last twice as long as a window "
        "takes to compute; with fast: as in file processing)",
    )
    add(
        "--lookahead",
        type=int,
        metavar="N",
        help="frames seen after the new ones: fewer reduce latency and quality (default: all of "
        "the model's context, equal to file processing)",
    )
    add(
        "--buffer",
        type=float,
        metavar="S",
        help="time reserved for computation (default: one step)",
    )
    add("--block", type=int, metavar="N", help="samples per block (default: a hop of the model)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return the exit code; see `mmdense live --help`."""
    from mmdense_edge.live import controls, engine, mixer, plan, sound_card, streams
    from mmdense_edge.separator import Separator

    if arguments.devices:
        print(sound_card.listing())
        return 0
    _check(arguments)
    separator = Separator(arguments.model, arguments.threads)
    contract, paced = separator.contract, arguments.pace == "real"
    if arguments.block is None:
        arguments.block = min(max(contract.transform.hop_length, MIN_BLOCK), MAX_BLOCK)
    gains = mixer.parse_mix(arguments.mix, separator.sources)
    opened, card = _open(arguments, contract.sample_rate)
    source = streams.limited(opened, arguments.seconds)
    step = arguments.step_frames
    if step is None and not paced:
        step = contract.step_frames
    sizes = plan.make_plan(
        contract,
        source.sample_rate,
        source.channels,
        block=arguments.block,
        step_frames=step,
        lookahead_frames=arguments.lookahead,
        buffer_seconds=arguments.buffer,
        window_seconds=plan.time_window(separator.network) if step is None else 0.0,
    )
    mixed = mixer.Mixer(gains, source.sample_rate)
    live = engine.LiveEngine(separator.network, sizes, mixed, paced)
    stats = live.stats

    def say(text: str) -> None:
        if not arguments.quiet:
            print(f"mmdense: {text}", file=sys.stderr, flush=True)

    def show_report() -> None:
        print(
            json.dumps(stats.as_json()) if arguments.json else stats.text(),
            file=sys.stderr
            if arguments.output == STREAM
            else sys.stdout,  # stdout may carry samples
            flush=True,
        )

    with _output(arguments, source, stats) as write, controls.keys(sys.stdin) as read_key:
        say(contract.title)
        say(f"{source.name}: {mixed.describe()}")
        say(sizes.describe() if paced else "not paced: no latency")
        if sys.stdin.isatty():
            say(controls.help_line(mixed))
        try:
            with (
                live.worker() if paced else nullcontext(lambda: None) as check,
                controls.controls(
                    live,
                    read_key,
                    sys.stderr,
                    show_report=show_report,
                    check=check,
                    quiet=arguments.quiet,
                ) as poll,
            ):
                if card is not None:
                    sound_card.run_card(live, card, source, write, poll)
                else:
                    engine.run_blocks(
                        live, source.blocks, write, poll, waits=arguments.input == STREAM
                    )
                refuse_if(
                    not stats.captured and arguments.input != CARD,
                    f"{source.name}: audio must have at least 1 sample; received 0",
                    AudioError,
                )
        finally:
            if stats.captured and not arguments.quiet:
                show_report()
    return 0


def _check(arguments: argparse.Namespace) -> None:
    block, seconds, rate, channels = (
        getattr(arguments, name) for name in ("block", "seconds", "rate", "channels")
    )
    stdin, card = arguments.input == STREAM, CARD in (arguments.input, arguments.output)
    file = arguments.input not in (STREAM, CARD)
    own = "applies to raw samples and sound cards: a file has its own"
    refuse_if(
        block is not None and not MIN_BLOCK <= block <= MAX_BLOCK,
        f"--block must be from {MIN_BLOCK} to {MAX_BLOCK} samples; received {block}",
    )
    refuse_if(
        seconds is not None and not 0 < seconds < math.inf,
        f"--seconds must be more than 0 and finite; received {seconds}",
    )
    refuse_if(
        arguments.pace == "fast" and card,
        "--pace fast cannot use a sound card. Give a file or - as INPUT, and --output.",
    )
    refuse_if(file and rate is not None, f"--rate {own}")
    refuse_if(file and channels is not None, f"--channels {own}")
    refuse_if(
        stdin and rate is None and channels is not None,
        "--channels applies to raw samples, which need --rate: a WAV file has its own",
    )
    refuse_if(
        stdin and arguments.output == CARD,
        "stdin cannot be played on a sound card directly. Use --output - and a pipe.",
    )


def _open(
    arguments: argparse.Namespace, model_rate: int
) -> tuple[streams.LiveInput, sound_card.Card | None]:
    """Return the input, and the sound card if one is used, with the input's form."""
    from mmdense_edge.live import pulse, sound_card, streams

    block, rate, channels = arguments.block, arguments.rate, arguments.channels
    if arguments.input == STREAM:
        return streams.open_stdin(block, rate, channels or 2, arguments.sample_format), None
    if arguments.input != CARD:
        source = streams.open_file(Path(arguments.input), block)
        if arguments.output != CARD:
            return source, None
        rate, channels = source.sample_rate, source.channels
    records, plays = arguments.input == CARD, arguments.output == CARD
    named = {arguments.input_device, arguments.output_device} - {""}
    if pulse.DEVICE in named:
        refuse_if(
            len(named) > 1,
            f"the device {pulse.DEVICE} records and plays; received "
            f"{', '.join(named - {pulse.DEVICE})} for one of them. Name it for both, or for none.",
        )
        card: sound_card.Card = pulse.PulseCard(
            records, plays, sample_rate=rate or model_rate, channels=channels or 2, block=block
        )
    else:
        card = sound_card.Card(
            arguments.input_device if records else None,
            arguments.output_device if plays else None,
            model_rate=model_rate,
            rate=rate,
            channels=channels,
            block=block,
        )
    if arguments.input == CARD:
        source = streams.LiveInput("card", card.sample_rate, card.channels, iter(()))
    return source, card


def _output(
    arguments: argparse.Namespace, source: streams.LiveInput, counted: stats.LiveStats
) -> AbstractContextManager[streams.Write]:
    from mmdense_edge.live import streams

    if arguments.output == STREAM:
        return streams.raw_output(sys.stdout.fileno(), arguments.sample_format, counted)
    if arguments.output in (CARD, NULL):
        return nullcontext(lambda block: None)
    path = Path(arguments.output)
    if arguments.input != CARD and path.exists():
        # The standard input may be redirected from the same file.
        read = os.stat(streams.STDIN if arguments.input == STREAM else arguments.input)
        refuse_if(
            os.path.samestat(path.stat(), read),
            f"{path} is an input file and would be replaced. Choose another --output.",
        )
    return streams.file_output(path, source, counted, arguments.overwrite)
