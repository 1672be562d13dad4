"""Composing: form, chords, drums, bass, accompaniment and melodies, as lists of timed notes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.datasets.demo.genre_styles import Genre, Part
from harness.datasets.demo.synth import SOUNDS, Rng
from harness.datasets.demo.voice import CONSONANTS, SOFT, VOWELS, Syllable

VELOCITY = {"x": 1.0, "o": 0.72, ".": 0.38}
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
STEPS = 16  # of a bar
Motif = list[tuple[int, int, int, str, str]]  # per note: step, length, move, vowel, consonant


@dataclass(frozen=True)
class Note:
    """A note of an instrument; times in seconds, `pitch` in MIDI numbers."""

    start: float
    duration: float
    pitch: int
    velocity: float


@dataclass(frozen=True)
class Hit:
    """A stroke on a drum; `sound` is a key of `drum_kit.LEAF_OF`."""

    start: float
    sound: str
    velocity: float


@dataclass(frozen=True)
class Chord:
    """A chord from step to step (counted from the song's start); `root` is a pitch class."""

    first: int
    last: int
    root: int
    intervals: tuple[int, ...]

    def tones(self) -> tuple[int, ...]:
        """Return the pitch classes."""
        return tuple((self.root + i) % 12 for i in self.intervals)


@dataclass(frozen=True)
class Section:
    """Part of a song: ``intro``, ``verse``, ``chorus`` or ``bridge``; in bars."""

    kind: str
    first: int
    bars: int


@dataclass(frozen=True)
class Composition:
    """The plan of a song that all players follow."""

    genre: Genre
    tempo: float  # beats per minute
    swing: float
    key: int  # pitch class of the tonic
    scale: tuple[int, ...]  # pitch classes
    sections: tuple[Section, ...]
    chords: tuple[Chord, ...]

    @property
    def n_bars(self) -> int:
        """Number of bars; the last may be cut."""
        return sum(section.bars for section in self.sections)

    def time(self, step: int) -> float:
        """Return the time of a step (a sixteenth) in seconds, with swing."""
        eighth = 30.0 / self.tempo
        late = self.swing * eighth if step % 4 in (2, 3) else 0.0
        return step * eighth / 2.0 + late

    def chord_at(self, step: int) -> Chord:
        """Return the chord at a step; after the end, the last one."""
        return next((c for c in self.chords if c.first <= step < c.last), self.chords[-1])

    def section_at(self, bar: int) -> Section:
        """Return the section of a bar; after the end, the last one."""
        inside = (s for s in self.sections if s.first <= bar < s.first + s.bars)
        return next(inside, self.sections[-1])

    def line(self, part: Part, bar: int) -> str:
        """Return the pattern of a part in a bar."""
        return part.chorus if self.section_at(bar).kind == "chorus" else part.verse


def compose(rng: Rng, genre: Genre, seconds: float, spread: float) -> Composition:
    """Choose tempo, key, form and chords of a song."""
    genre = _varied(genre, rng, 0.25 * spread)
    low, high = genre.tempo
    tempo = (low + high) / 2 + rng.uniform(-0.5, 0.5) * (high - low) * spread
    n_bars = int(np.ceil(seconds / (240.0 / tempo)))
    key = int(rng.integers(12))
    minor = bool(rng.random() < genre.minor_chance)
    choices = genre.minor if minor else genre.major
    verse, chorus = (choices[int(i)] for i in rng.integers(len(choices), size=2))
    sections = _form(n_bars, rng)
    scale = tuple((key + i) % 12 for i in (MINOR if minor else MAJOR))
    chords = _chords(sections, verse, chorus, key)
    swing = genre.swing * float(rng.uniform(0.85, 1.15))
    return Composition(genre, float(tempo), swing, key, scale, sections, chords)


def _varied(genre: Genre, rng: Rng, chance: float) -> Genre:
    """Return the genre with this song's variations of its patterns; loud strokes are kept."""

    def vary(part: Part | None) -> Part | None:
        if part is None or part.style == "hold":
            return part
        first, second = (_varied_line(line, rng, chance) for line in (part.verse, part.chorus))
        return replace(part, verse=first, chorus=second)

    verse, chorus = (
        {k: v if k == "crash" else _varied_line(v, rng, chance) for k, v in pattern.items()}
        for pattern in (genre.verse, genre.chorus)
    )
    if "ride" not in verse and rng.random() < chance:
        verse["hat"] = str(rng.choice(SOUNDS["hats"]))
    guitar, piano, keys = vary(genre.guitar), vary(genre.piano), vary(genre.keys)
    return replace(genre, verse=verse, chorus=chorus, guitar=guitar, piano=piano, keys=keys)


def _varied_line(line: str, rng: Rng, chance: float) -> str:
    """Change or drop some of the weaker strokes, and add soft ones on eighths."""
    out = ""
    for step, letter in enumerate(line):
        dice = rng.random()
        if letter in "o." and dice < chance:
            letter = str(rng.choice(["-", "o", "."]))
        elif letter == "-" and step % 2 == 0 and dice < chance / 3:
            letter = "."
        out += letter
    return out


def _form(n_bars: int, rng: Rng) -> tuple[Section, ...]:
    """Plan the sections; short songs have only verse and chorus."""
    if n_bars <= 4:
        plan = [("chorus", n_bars)]
    elif n_bars <= 8:
        plan = [("verse", n_bars // 2), ("chorus", n_bars)]
    else:
        cycle = [("verse", 4), ("chorus", 4)]
        plan = [("intro", int(rng.integers(1, 3))), *cycle, *cycle, ("bridge", 2)]
        plan += [("chorus", 4), *cycle] * (n_bars // 12)
    sections, bar = [], 0
    for kind, bars in plan:
        bars = min(bars, n_bars - bar)
        if bars > 0:
            sections.append(Section(kind, bar, bars))
            bar += bars
    return tuple(sections)


def parse_chord(word: str, key: int) -> tuple[int, tuple[int, ...]]:
    """Read a chord such as ``9m7``: (root pitch class, intervals)."""
    found = re.fullmatch(r"(\d+)(\w*)", word)
    if found is None:
        raise ValueError(f"not a chord: {word!r}")
    return (key + int(found[1])) % 12, tuple(SOUNDS["qualities"][found[2]])


def _chords(sections: Sequence[Section], verse: str, chorus: str, key: int) -> tuple[Chord, ...]:
    """Write out the progression of every section."""
    chords = []
    for section in sections:
        bars = (chorus if section.kind == "chorus" else verse).split()
        for i in range(section.bars):
            words = bars[i % len(bars)].split("/")
            length = STEPS // len(words)
            for j, word in enumerate(words):
                first = (section.first + i) * STEPS + j * length
                chords.append(Chord(first, first + length, *parse_chord(word, key)))
    return tuple(chords)


def drums(song: Composition, rng: Rng) -> list[Hit]:
    """Play the genre's patterns, with fills at the ends of sections and human timing."""
    hits: list[Hit] = []
    for bar in range(song.n_bars):
        section = song.section_at(bar)
        pattern = dict(song.genre.chorus if section.kind == "chorus" else song.genre.verse)
        if section.kind == "intro":
            pattern.pop("kick", None)
        if "crash" in pattern and (bar - section.first) % 4:
            del pattern["crash"]
        fill = bar == section.first + section.bars - 1
        hits += [
            _hit(song, bar * STEPS + step, sound, VELOCITY[letter] * rng.uniform(0.88, 1.0), rng)
            for sound, line in pattern.items()
            for step, letter in enumerate(line[: 10 if fill else STEPS])
            if letter in VELOCITY
        ]
        if fill:
            hits += _fill(song, bar, rng)
    return sorted(hits, key=lambda hit: hit.start)


def _hit(song: Composition, step: int, sound: str, velocity: float, rng: Rng) -> Hit:
    """Time a stroke; drum machines are more exact than drummers."""
    sway = 0.0005 if song.genre.electronic else 0.005
    start = max(0.0, song.time(step) + float(rng.normal(0.0, sway)))
    return Hit(start, sound, float(velocity))


def _fill(song: Composition, bar: int, rng: Rng) -> list[Hit]:
    """Roll over snare and toms in the last six sixteenths of a bar."""
    order = ["snare", "snare", "tom_high", "tom_high", "tom_mid", "tom_floor"]
    if rng.random() < 0.4:
        order = ["tom_high", "tom_high", "tom_mid", "tom_mid", "tom_floor", "tom_floor"]
    return [
        _hit(song, bar * STEPS + 10 + i, sound, 0.6 + 0.07 * i, rng)
        for i, sound in enumerate(order)
        if rng.random() < 0.85
    ]


def bass(song: Composition, part: Part, rng: Rng) -> list[Note]:
    """Play the bass pattern over the chords, in the octave from E1 up."""
    notes: list[Note] = []
    for bar in range(song.n_bars):
        if bar == 0 and song.section_at(bar).kind == "intro":
            continue
        line = song.line(part, bar)
        for step, letter in enumerate(line):
            if letter in "-.":
                continue
            rest = line[step + 1 :]
            length = 1 + len(rest) - len(rest.lstrip("-"))
            at = bar * STEPS + step
            start = song.time(at) + abs(float(rng.normal(0.0, 0.003)))
            duration = song.time(at + length) - start - 0.02
            pitch = _bass_pitch(song, at, letter)
            notes.append(Note(start, duration, pitch, float(rng.uniform(0.8, 1.0))))
    return notes


def _bass_pitch(song: Composition, step: int, letter: str) -> int:
    """Return the pitch of a letter of a bass pattern at a step."""
    chord = song.chord_at(step)
    root = 28 + (chord.root - 28) % 12
    if letter == "a":
        following = song.chord_at((step // STEPS + 1) * STEPS)
        return 28 + (following.root - 28) % 12 - 1
    return root + {"r": 0, "t": chord.intervals[1], "f": 7, "o": 12}[letter]


def voicing(chord: Chord, low: int, count: int) -> list[int]:
    """Spread a chord over `count` pitches upwards from `low`: C from 60 on is 60, 64, 67, 72."""
    tones = sorted(low + (tone - low) % 12 for tone in chord.tones())
    return [tone + 12 * k for k in range(count) for tone in tones][:count]


def accompany(song: Composition, part: Part, low: int, count: int, rng: Rng) -> list[Note]:
    """Play chords in the part's style: block, strum, power, skank, hold or arpeggio."""
    notes: list[Note] = []
    for bar in range(song.n_bars):
        line = song.line(part, bar)
        onsets = [i for i, letter in enumerate(line) if letter in VELOCITY]
        for i, step in enumerate(onsets):
            following = onsets[i + 1] if i + 1 < len(onsets) else STEPS
            at = bar * STEPS + step
            pitches = _pitches(song.chord_at(at), part.style, low, count, i)
            start = max(0.0, song.time(at) + float(rng.normal(0.0, 0.004)))
            length = song.time(at + following - step) - song.time(at)
            if part.style == "skank":
                length = min(length, 0.11)
            velocity = VELOCITY[line[step]] * rng.uniform(0.85, 1.0)
            upward = part.style == "strum" and step % 4 == 2
            notes += _spread(
                pitches[::-1] if upward else pitches, part.style, start, length, velocity
            )
    return notes


def _pitches(chord: Chord, style: str, low: int, count: int, index: int) -> list[int]:
    """Return the pitches of one stroke."""
    if style == "power":
        root = 40 + (chord.root - 40) % 12
        return [root, root + 7, root + 12]
    if style == "arpeggio":
        tones = voicing(chord, low, count)
        turn = tones + tones[-2:0:-1]
        return [turn[index % len(turn)]]
    return voicing(chord, low, count)


def _spread(
    pitches: Sequence[int], style: str, start: float, length: float, velocity: float
) -> list[Note]:
    """Play the pitches of a stroke one after the other, as a hand does."""
    gap = {"strum": 0.011, "skank": 0.004, "power": 0.003, "block": 0.002}.get(style, 0.0)
    weight = float(velocity) / len(pitches) ** 0.5
    ring = length * 2.2 if style == "arpeggio" else length
    return [Note(start + i * gap, ring, p, weight) for i, p in enumerate(pitches)]


@dataclass(frozen=True)
class Phrase:
    """Two bars of melody; `kind` is the section's, `index` counts phrases of the song."""

    kind: str
    index: int
    syllables: tuple[Syllable, ...]


def melody(song: Composition, center: int, rng: Rng) -> list[Phrase]:
    """Write the lead line around a MIDI pitch; equal sections share rhythm, contour and words."""
    motifs: dict[tuple[str, int], Motif] = {}
    phrases: list[Phrase] = []
    for section in song.sections:
        if section.kind in ("intro", "bridge"):
            continue
        for bar in range(0, section.bars, 2):
            key = (section.kind, bar // 2 % 2)
            rap = song.genre.rap and section.kind == "verse"
            if key not in motifs:
                motifs[key] = _motif(rap, rng)
            lift = 3 if section.kind == "chorus" else 0
            first = (section.first + bar) * STEPS
            last = (section.first + min(bar + 2, section.bars)) * STEPS
            notes = _realize(song, motifs[key], (first, last), center + lift, rap)
            phrases.append(Phrase(section.kind, len(phrases), tuple(notes)))
    return phrases


def _motif(rap: bool, rng: Rng) -> Motif:
    """Invent a phrase of two bars."""
    lengths, odds = ((1, 2), (0.55, 0.45)) if rap else ((2, 3, 4, 6), (0.5, 0.2, 0.22, 0.08))
    step = int(rng.choice([0, 2, 4])) if not rap else int(rng.integers(0, 3))
    end = int(rng.integers(25, 31)) if rap else int(rng.integers(20, 27))
    motif = []
    while step < end:
        length = int(rng.choice(lengths, p=odds))
        if step + length >= end and not rap:
            length = int(rng.integers(4, 7))
        move = int(rng.choice([-2, -1, -1, 0, 1, 1, 2, 3]))
        vowel = str(rng.choice(list(VOWELS)))
        consonant = str(rng.choice([*CONSONANTS, *SOFT, *SOFT]))
        motif.append((step, length, move, vowel, consonant))
        step += length + (1 if rng.random() < 0.1 else 0)
    return motif


def _realize(
    song: Composition, motif: Motif, span: tuple[int, int], center: int, rap: bool
) -> list[Syllable]:
    """Fit a motif to the chords: chord tones on strong beats, the scale between."""
    notes: list[Syllable] = []
    pitch = center
    for step, length, move, vowel, consonant in motif:
        at = span[0] + step
        if at >= span[1] - 1:
            break
        pitch = int(np.clip(pitch + (move if rap else 2 * move), center - 7, center + 8))
        if rap:
            pitch = round(0.6 * pitch + 0.4 * (center - 4))
        else:
            strong = step % 4 == 0 or length >= 4
            pitch = nearest(pitch, song.chord_at(at).tones() if strong else song.scale)
        start, stop = song.time(at), song.time(min(at + length, span[1]))
        duration = (stop - start) * (0.8 if rap else 0.95)
        velocity = 0.9 if step % 4 == 0 else 0.8
        notes.append(Syllable(start, duration, pitch, velocity, vowel, consonant, not notes))
    return notes


def nearest(pitch: int, classes: Sequence[int]) -> int:
    """Return the pitch nearest to `pitch` whose class is among `classes`; the lower of two."""
    return min(
        (p for p in range(pitch - 6, pitch + 7) if p % 12 in classes),
        key=lambda p: (abs(p - pitch), p),
    )


def harmony(song: Composition, phrase: Phrase, above: int, late: float) -> tuple[Syllable, ...]:
    """Follow a phrase `late` seconds behind, on the chord tones nearest to `above` semitones."""
    out = []
    for s in phrase.syllables:
        chord = song.chord_at(round(s.start * song.tempo / 15.0))
        pitch = nearest(round(s.pitch) + above, chord.tones())
        out.append(replace(s, start=s.start + late, pitch=pitch, velocity=s.velocity * 0.9))
    return tuple(out)


def oohs(song: Composition, around: int, vowel: str) -> list[Phrase]:
    """Hold a chord tone near a pitch through every chord of the choruses."""
    held = []
    for chord in song.chords:
        if song.section_at(chord.first // STEPS).kind == "chorus":
            start, stop = song.time(chord.first), song.time(chord.last)
            pitch = nearest(around, chord.tones())
            held.append(Syllable(start, 0.93 * (stop - start), pitch, 0.7, vowel, "h", False))
    return [Phrase("chorus", 0, tuple(held))]


def as_notes(phrases: Sequence[Phrase]) -> list[Note]:
    """Turn a melody into notes for an instrument."""
    syllables = [s for phrase in phrases for s in phrase.syllables]
    return [Note(s.start, s.duration, round(s.pitch), s.velocity) for s in syllables]
