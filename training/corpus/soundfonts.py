"""Parts played by fluidsynth with a soundfont."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import soundfile as sf

from training.corpus.dsp import SAMPLE_RATE, Audio, Rng, fit, pick
from training.corpus.material import CorpusError, Soundfont
from training.corpus.score import DRUMS, Part

TICKS = 9600  # of a beat of half a second: 0.05 ms
DRUM_CHANNEL = 9
STANDARD_KITS = (0, 0, 0, 8, 16, 24, 25, 32, 40)
SECONDS = 120


def play(rng: Rng, part: Part, font: Soundfont, num_samples: int, folder: Path) -> Audio:
    """Render one part.

    Args:
        rng: Chooses the kit of a drum part.
        part: What to play.
        font: The soundfont.
        num_samples: Length of the result.
        folder: Folder for the MIDI and the WAV file.

    Returns:
        (num_samples, 2) float32, without reverb and chorus.

    Raises:
        CorpusError: fluidsynth fails.
    """
    midi, wav = folder / "part.mid", folder / "part.wav"
    drums = part.program == DRUMS
    channel = DRUM_CHANNEL if drums and not font.kit else 0
    program = (0 if font.kit else pick(rng, STANDARD_KITS)) if drums else part.program
    write_midi(midi, part, channel, program)
    command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(SAMPLE_RATE)]
    # only the samples that are played are loaded: seconds less for compressed soundfonts
    command += ["-o", "synth.dynamic-sample-loading=1", "-O", "float", "-T", "wav", "-F", str(wav)]
    try:
        subprocess.run(
            [*command, str(font.path), str(midi)], capture_output=True, timeout=SECONDS, check=True
        )
        audio, _ = sf.read(wav, dtype="float32", always_2d=True)
    except (OSError, subprocess.SubprocessError, sf.SoundFileError) as error:
        raise CorpusError(f"fluidsynth fails with {font.path}: {error}") from error
    return fit(audio, num_samples)


def write_midi(path: Path, part: Part, channel: int, program: int) -> None:
    """Write a part as a MIDI file of one track."""
    import mido

    events: Sequence[tuple[float, int, int, int]] = sorted(
        event
        for note in part.notes
        for event in (
            (note.start, 1, note.pitch, note.velocity),
            (note.start + note.duration, 0, note.pitch, 0),
        )
    )
    track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=program)])
    last = 0
    for time, _, pitch, velocity in events:
        tick = round(time * 2 * TICKS)
        message = mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)
        track.append(message.copy(time=tick - last))
        last = tick
    file = mido.MidiFile(ticks_per_beat=TICKS)
    file.tracks.append(track)
    file.save(path)
