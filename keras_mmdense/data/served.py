"""Training batches made by a tf.data service: other machines read the files and transform.

A data set travels to the service as a graph, and Python functions do not. So the examples are
drawn here, where their silence is looked at, and what travels is a table of files, places and
gains, with TensorFlow's own operations to read 16-bit WAV files at a place.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_mmdense.data.excerpts import ExcerptReader
from keras_mmdense.data.faults import DatasetError
from keras_mmdense.settings import Settings

if TYPE_CHECKING:
    import tensorflow as tf

CONNECT_SECONDS = 10.0
PCM, EXTENSIBLE = 1, 0xFFFE


class WavLayout(NamedTuple):
    """Where the samples of a 16-bit WAV file lie.

    Args:
        offset: Bytes before the first sample.
        channels: Number of channels.
        size: Bytes of the file.
    """

    offset: int
    channels: int
    size: int


def wav_layout(path: Path) -> WavLayout:
    """Find the samples of a 16-bit WAV file.

    Raises:
        DatasetError: It is no such file.

    Example:
        >>> import tempfile, soundfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     soundfile.write(Path(folder) / "a.wav", np.zeros((5, 2), np.int16), 44100)
        ...     wav_layout(Path(folder) / "a.wav")
        WavLayout(offset=44, channels=2, size=64)
    """
    size, channels = path.stat().st_size, 0
    with path.open("rb") as file:
        head = file.read(12)
        while head[:4] == b"RIFF" and head[8:] == b"WAVE" and file.tell() <= size - 8:
            name, length = struct.unpack("<4sI", file.read(8))
            if name == b"data" and channels:
                return WavLayout(file.tell(), channels, size)
            body = file.tell()
            if name == b"fmt " and length >= 16 and body + 16 <= size:
                code, count, _, _, _, bits = struct.unpack("<HHIIHH", file.read(16))
                channels = count if bits == 16 and code in (PCM, EXTENSIBLE) else 0
            file.seek(body + length + length % 2)
    raise DatasetError(
        f"a tf.data service reads 16-bit WAV files; received {path}. `python -m training.prepare` "
        "makes them."
    )


def check_service(address: str) -> None:
    """Try to reach a dispatcher: TensorFlow itself would wait for it without a word.

    Raises:
        DatasetError: The address is wrong, or nothing answers there.
    """
    match = re.fullmatch(r"grpc://(?:\[([^\]]+)\]|([^:/]+)):(\d{1,5})", address)
    try:
        if not match or int(match[3]) > 65535:
            raise DatasetError(
                f'a tf.data service must be "grpc://host:port"; received {address!r}.'
            )
        socket.create_connection((match[1] or match[2], int(match[3])), CONNECT_SECONDS).close()
    except OSError as error:
        raise DatasetError(
            f"a tf.data service must answer at {address}; received {error.strerror or error}. "
            "Start `python -m training.data_service dispatcher`."
        ) from error


def served(
    reader: ExcerptReader,
    numbers: Sequence[int],
    batch_size: int,
    s: Settings,
    num_samples: int,
    service: str,
    target: str,
) -> tf.data.Dataset:
    """Return the batches of examples with these numbers, made by a tf.data service.

    Args:
        reader: Draws the examples.
        numbers: Their numbers, whole batches of them.
        batch_size: Examples in a batch.
        s: The model's settings.
        num_samples: Length of an excerpt in samples.
        service: "grpc://host:port" of its dispatcher.
        target: "magnitude" or "in_phase".

    Raises:
        DatasetError: No service there, or files that are not 16-bit WAV.
    """
    import tensorflow as tf

    from keras_mmdense.data.pipeline import magnitudes_of

    if reader.has_effects:
        raise DatasetError(
            "a tf.data service knows gain and swap only; received a mixing with equalizer, speed "
            "or width. Set them to 0, or train without the service."
        )
    check_service(service)
    table, paths = _table(reader, numbers, num_samples)
    steps = len(numbers) // batch_size
    # An element is a whole batch, so that each worker is dealt whole batches.
    batches = {k: v.reshape(steps, batch_size, *v.shape[1:]) for k, v in table.items()}

    def load(row: dict[str, Any]) -> Any:
        return _load(row, tf.constant(paths), s.channels, num_samples)

    options = tf.data.Options()
    options.deterministic = True
    data = tf.data.Dataset.from_tensor_slices(batches).unbatch()
    data = data.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)
    data = data.map(
        lambda stems: magnitudes_of(stems, reader.sources, s, target), num_parallel_calls=1
    )
    policy = tf.data.experimental.service.ShardingPolicy.DYNAMIC
    data = data.with_options(options).apply(
        tf.data.experimental.service.distribute(processing_mode=policy, service=service)
    )
    return data.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


def _table(
    reader: ExcerptReader, numbers: Sequence[int], num_samples: int
) -> tuple[dict[str, Any], list[bytes]]:
    """Draw examples: what to read for each, one row per example and column per source."""
    layouts: dict[Path, tuple[int, WavLayout]] = {}
    rows: list[list[list[int]]] = []
    examples = [reader.example(number) for number in numbers]
    for example in examples:
        row = []
        for source, (track, start) in zip(reader.sources, example.places, strict=True):
            path = track.streams[source].path
            if path not in layouts:
                layouts[path] = (len(layouts), wav_layout(path))
            file, (offset, channels, size) = layouts[path]
            count = min(num_samples, track.num_samples - start)
            before, length = offset + 2 * channels * start, 2 * channels * count
            row.append([file, channels, before, length, size - before - length])
        rows.append(row)
    shape = (len(numbers), len(reader.sources))
    table = {
        "place": np.array(rows, np.int64).reshape(*shape, 5),
        "gain": np.array([e.gains for e in examples], np.float32).reshape(shape),
        "swap": np.array([e.swaps for e in examples], bool).reshape(shape),
    }
    return table, [bytes(path.absolute()) for path in layouts]


def _load(row: dict[str, Any], paths: Any, channels: int, num_samples: int) -> Any:
    """Read an example: (sources, num_samples, channels), as `ExcerptReader` does."""
    import tensorflow as tf

    stems = []
    for source in range(row["place"].shape[0]):
        file, stored, before, length, after = tf.unstack(row["place"][source])
        # the one operation of TensorFlow that reads a file from a place on
        record = tf.data.FixedLengthRecordDataset(paths[file], length, before, after)
        samples = tf.io.decode_raw(record.get_single_element(), tf.int16)
        audio = tf.cast(tf.reshape(samples, (-1, stored)), tf.float32) / 32768
        if channels == 1:
            audio = tf.reduce_mean(audio, axis=1, keepdims=True)
        count = tf.shape(audio)[0]
        audio = tf.broadcast_to(audio, (count, channels))
        audio = tf.pad(audio, ((0, num_samples - count), (0, 0)))
        stems.append(tf.ensure_shape(audio, (num_samples, channels)))
    stack = tf.stack(stems)
    stack = tf.where(row["swap"][:, None, None], tf.reverse(stack, [2]), stack)
    return stack * row["gain"][:, None, None]
