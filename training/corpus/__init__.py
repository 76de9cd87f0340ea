"""Songs to train on, rendered from free material: `python -m training.corpus --out DIR`.

Each song has the stems bass, drums, other and vocals; its mixture is their exact integer sum. The
files are laid out as in MUSDB18-HQ, `DIR/SUBSET/SONG/{bass,drums,other,vocals,mixture}.wav`, and
can be read with `keras_mmdense.data.open_dataset`.

A model that is trained on one soundfont learns that soundfont. Therefore everything is drawn at
random for each song: the score (built-in patterns or the grooves of MMA), tempo, key and timing;
the instrument of each part (soundfonts, single notes and strokes, a synthesizer, whole recordings);
the voice (singers, as recorded or with another pitch and other formants, syllables put to a tune,
espeak-ng); the effects on each stem; balance, loudness and limiter, whose gain is the same for all
stems.

--use lists what may be used. The default is everything:

    patterns    built-in scores, no program needed
    mma         MMA's arrangements             needs the program mma, and mido
    soundfonts  fluidsynth                     needs fluidsynth, soundfonts, and mido
    samples     notes and hits of --material
    synth       a synthesizer, no material needed
    takes       recordings of --material: singers and guitars
    units       syllables put to a tune        needs --material with labels, and pyworld
    songs       singing of mixed songs, with the band in its key
    espeak      espeak-ng's voices             needs espeak-ng, and pyworld

It is an error if something in --use is missing. The Python packages: `pip install -e ".[corpus]"`.
The programs, on Debian: `apt-get install mma fluidsynth espeak-ng fluid-soundfont-gm
fluidr3mono-gm-soundfont musescore-general-soundfont csound-soundfont avldrums.lv2-soundfont`.

--bands places voices over recordings of whole bands without a singer, which become the stem
`other`. This is for models of the vocals only, which need not tell other sources apart. On Debian:
`apt-get install fretsonfire-songs-muldjord fretsonfire-songs-sectoid supertuxkart-data`, and
--material /usr/share/games/fretsonfire/data/songs /usr/share/games/supertuxkart/data/music.

--material is a folder listed in catalogue.toml, which gives its license and credit, or a folder of
such folders. A folder of your own gives the same information in a file `material.toml`.

Song number i of a corpus depends only on --subset, --seed + i, --seconds, --use, --bands and the
material: with the same versions of programs and packages, its bytes are the same. Songs of "train",
"valid" and "test" always differ, whatever their seeds. Two corpora of one subset share no song if
their seeds differ by at least --songs. All subsets share the material, so measure on real music.

Run the command again to continue after a stop, or with more --songs to add some. `manifest.json`
lists what was used, the licenses, the credits, and which sources are share-alike.
"""
