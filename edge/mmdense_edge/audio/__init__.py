"""Audio files: their form, reading, what proves them whole, writing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mmdense_edge.errors import AudioError

TAGS = (
    "title", "artist", "album", "date", "tracknumber", "genre", "comment", "copyright", "license"
)  # fmt: skip

OnDamage = Callable[[str], None]


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file says about itself.

    Args:
        sample_rate: In Hz.
        channels: How many.
        num_samples: Length; an estimate for MP3 files without a length header and for files that
            ffmpeg reads, 0 if unknown.
        subtype: Libsndfile's name of the sample format, for example "PCM_16".
        tags: Title, artist and so on, as far as the file has them.
    """

    sample_rate: int
    channels: int
    num_samples: int
    subtype: str
    tags: Mapping[str, str] = field(default_factory=dict)


def refuse(message: str) -> None:
    """Refuse damage to an audio file: the default of `read_blocks`.

    Raises:
        AudioError: Always.
    """
    raise AudioError(
        f"{message}. Repair it, or use what can be read: --allow-truncated, or in Python "
        "mmdense_edge.audio.reading.read_blocks(path, damaged=print)"
    )
