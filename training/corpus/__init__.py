"""Songs to train on, rendered from free material: `python -m training.corpus --out DIR`.

Each song has the stems bass, drums, other and vocals; its mixture is their exact integer sum.
`keras_mmdense.data.open_dataset` reads the tree, which has the shape of MUSDB18-HQ:
`DIR/SUBSET/SONG/{bass,drums,other,vocals,mixture}.wav`.

A model trained on one soundfont learns that soundfont. So everything is drawn at random for each
song: the score (the patterns here, or the grooves of MMA), tempo, key, timing; the instrument of
each part (soundfonts, single notes and strokes, a synthesizer, whole recordings); the voice
(singers as recorded or with another pitch and formants, syllables put on a tune, espeak-ng); the
effects of each stem; balance, loudness and limiter, whose gain is the same for all stems.

--use names what may be used; the default is all of it:

    patterns    the score written here, no program
    mma         MMA's arrangements             needs the program mma, and mido
    soundfonts  fluidsynth                     needs fluidsynth, soundfonts, and mido
    samples     notes and hits of --material
    synth       a synthesizer, no material
    takes       recordings of --material: singers and guitars
    units       syllables put on a tune        needs --material with labels, and pyworld
    songs       singing of mixed songs, the band in its key
    espeak      espeak-ng's voices             needs espeak-ng, and pyworld

What is asked for and missing is an error, never left out silently. The Python packages:
`pip install -e ".[corpus]"`. The programs, on Debian: `apt-get install mma fluidsynth espeak-ng
fluid-soundfont-gm fluidr3mono-gm-soundfont musescore-general-soundfont csound-soundfont
avldrums.lv2-soundfont`.

With --bands, a voice over recordings of whole bands without one, which fill the stem `other`: for
models of the vocals alone, to which any accompaniment is the same. On Debian, `apt-get install
fretsonfire-songs-muldjord fretsonfire-songs-sectoid supertuxkart-data`, and --material
/usr/share/games/fretsonfire/data/songs /usr/share/games/supertuxkart/data/music.

--material is a folder of catalogue.toml, which gives its license and its credit, or a folder of
such folders. A folder of your own says the same in a file `material.toml`.

Song number i of a corpus depends on --subset, --seed + i, --seconds, --use, --bands and the
material alone: the same gives the same bytes with the same versions of programs and packages.
Songs of "train", "valid" and "test" are never the same, whatever their seeds. Corpora of one subset
are disjoint when their seeds lie at least --songs apart. All subsets share the material: measure on
real music.

The command run again goes on where it stopped; with more --songs it adds some. `manifest.json`
tells what was used, the licenses, whom to credit, and which sources are share-alike.
"""
