"""PulseAudio, or PipeWire in its place, through PulseAudio's simple interface."""

import ctypes
import math
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np

from mmdense_edge.errors import CardStopped, UsageError, refuse_if
from mmdense_edge.live.sound_card import Card, Exchange
from mmdense_edge.live.stats import LiveStats

DEVICE, LIBRARY = "pulse", "libpulse-simple.so.0"
RESERVE_SECONDS = 0.096
LEAST_SECONDS, MOST_SECONDS = 0.02, 0.5  # the server knows a latency only roughly
FILL_SECONDS, PLACING_SECONDS = 1.0, 4.5
_PLAY, _RECORD, _FLOAT32, _DEFAULT = 1, 2, 5, 2**32 - 1


class PulseCard(Card):
    """The server's default source and sink, or those of PULSE_SOURCE and PULSE_SINK.

    A block is played `RESERVE_SECONDS` after its recording began. If it comes later, the sink
    plays silence in its place and goes on in time: the latency stays what it was. (A stream of
    PortAudio waits for the block, and is later from then on.)

    Args:
        records: Whether to record.
        plays: Whether to play.
        sample_rate: In Hz; the server resamples.
        channels: 1 or 2.
        block: Samples in a block; if it records and plays, less than half of `RESERVE_SECONDS`.

    Raises:
        UsageError: The block is too long, or PulseAudio's library is missing.
    """

    patience = RESERVE_SECONDS  # until the sink has played all that it has

    def __init__(
        self, records: bool, plays: bool, *, sample_rate: int, channels: int, block: int
    ) -> None:
        refuse_if(
            records and plays and 2 * block >= RESERVE_SECONDS * sample_rate,
            f"from {DEVICE} to {DEVICE} a block must be shorter than {RESERVE_SECONDS / 2:g} s; "
            f"received {block} samples at {sample_rate} Hz. Give a smaller --block.",
        )
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise UsageError(
                f"PulseAudio's library is missing ({error}). Run apt install libpulse0, or choose "
                "another device."
            ) from error
        self._library.pa_simple_new.restype = ctypes.c_void_p
        self._library.pa_strerror.restype = ctypes.c_char_p
        self._kinds = [_RECORD] * records + [_PLAY] * plays
        self.sample_rate, self.channels, self._block = sample_rate, channels, block

    def _call(self, name: str, *arguments: object) -> int:
        error = ctypes.c_int()
        answer = getattr(self._library, f"pa_simple_{name}")(*arguments, ctypes.byref(error))
        refuse_if(
            error.value,
            f"PulseAudio cannot be used ({self._library.pa_strerror(error).decode()}). "
            "Is it running, or PipeWire in its place?",
            CardStopped,
        )
        return int(answer or 0)

    @contextmanager
    def running(self, exchange: Exchange, stats: LiveStats) -> Iterator[Callable[[], object]]:
        """Call `exchange` for each block on a thread of its own, as `Card.running` does."""
        heard = np.zeros((self._block, self.channels), np.float32)
        size, frame = ctypes.c_size_t(heard.nbytes), heard.strides[0]
        form = struct.pack("iIB3x", _FLOAT32, self.sample_rate, self.channels)
        both, seconds = len(self._kinds) == 2, self._block / self.sample_rate
        # The most that the server stores; what it keeps for the sink, and how much of it must be
        # there to go on; the least that it asks for; what the source sends at a time.
        kept = round(2 * RESERVE_SECONDS * self.sample_rate) * frame  # so that no write waits
        lengths = (ctypes.c_uint32 * 5)(
            _DEFAULT, kept, 0 if both else _DEFAULT, _DEFAULT, heard.nbytes
        )
        streams = {
            side: ctypes.c_void_p(
                self._call("new", None, b"mmdense", side, None, b"live", form, None, lengths)
            )
            for side in self._kinds
        }
        record, play = streams.get(_RECORD), streams.get(_PLAY)
        stopped = threading.Event()
        ended: Future[None] = Future()

        def latency(*sides: object) -> float:
            return sum(self._call("get_latency", side) for side in sides) / 1e6

        def write(samples: bytes) -> None:
            self._call("write", play, samples, ctypes.c_size_t(len(samples)))

        def read() -> None:
            self._call("read", record, ctypes.c_void_p(heard.ctypes.data), size)

        def place() -> None:
            """Write as much silence as puts a block `RESERVE_SECONDS` behind its recording."""
            # The server takes the last sample when it has no more than it is to keep.
            write(bytes(round(FILL_SECONDS * self.sample_rate) * frame))
            began, heard_until = math.inf, []
            for count in range(1, round(PLACING_SECONDS / seconds)):
                read()
                now = time.perf_counter()
                # a block comes late, never early: the earliest one tells when the recording began
                began = min(began, now - count * seconds)
                if count * seconds < RESERVE_SECONDS / 2:  # there is still something to be heard
                    heard_until.append(now + latency(play))
            missing = began + count * seconds + RESERVE_SECONDS - statistics.median(heard_until)
            write(bytes(round(missing * self.sample_rate) * frame))

        def run() -> None:
            placed = not both
            try:
                while not stopped.is_set():
                    if not placed:
                        place()
                    if record:
                        read()
                    if play:
                        left = latency(play)
                        # the server takes samples some time before they are heard
                        self.patience = max(0.0, left - LEAST_SECONDS)
                        stats.device_faults += placed and both and not left
                    samples = exchange(heard.copy() if record else None).tobytes()
                    if play:
                        write(samples)
                    stats.device_seconds = latency(*streams.values())
                    # Otherwise the source lost something, or its clock is faster than the sink's.
                    reserve = stats.device_seconds - seconds
                    placed = not both or LEAST_SECONDS < reserve < MOST_SECONDS
            except Exception as error:
                ended.set_exception(error)
            finally:
                for side in streams.values():
                    self._library.pa_simple_free(side)

        # A daemon: the command must end even if the server does not answer any more.
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield lambda: ended.done() and ended.result()
        finally:
            stopped.set()
            thread.join(1.0)
