"""From players to stems: recording, room, levels, bleed, limiter, 16-bit grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from harness.core.audio import Audio
from harness.datasets.demo import band, voice
from harness.datasets.demo import composition as score
from harness.datasets.demo import drum_kit as kit
from harness.datasets.demo.genre_styles import Part
from harness.datasets.demo.song_catalog import DemoEntry
from harness.datasets.demo.synth import RATE, SOUNDS, Rng, pan, reverberate, room
from harness.datasets.demo.synth import band as filtered

DRUMS = ("kick", "snare", "toms", "hihat", "cymbals")
VOCALS = ("lead_male", "lead_female", "background")
INSTRUMENTS = ("guitar", "piano", "keys")
LEAVES = (*VOCALS, *DRUMS, "bass", *INSTRUMENTS)
SOLOISTS = {"guitar": "clean", "piano": "piano", "keys": "saw"}  # of instrumentals: their sound

LEVELS: dict[str, float] = {leaf: level for leaf, (level, _) in SOUNDS["mix"].items()}  # dB
WET: dict[str, float] = {leaf: share for leaf, (_, share) in SOUNDS["mix"].items()}
CEILING = 10 ** (-1.0 / 20.0)  # peak of the mixture
GRID = np.float32(32768.0)  # steps of 16-bit audio


def perform(
    entry: DemoEntry, n_samples: int, artist: Rng, track: Rng
) -> tuple[dict[str, Audio], frozenset[str]]:
    """Compose and record a track: every leaf, (2, n_samples) on the 16-bit grid, and the bleed.

    `artist` draws what an artist's songs share, `track` the rest.
    """
    spread = 1.0 if entry.split == "train" else 0.6
    song = score.compose(track, entry.genre, n_samples / RATE, spread)
    session = _Session(entry, song, n_samples, artist, track, spread)
    dry = {**session.drums(), **session.instruments(), **session.singers()}
    wet = _balance(entry, dry, track, spread)
    bleed = _bleed(entry.case, wet, track)
    return _master(wet, n_samples, track), bleed


@dataclass(frozen=True)
class _Session:
    """The recording of one song; `spread` is how far tones are from the middle, 0 … 1."""

    entry: DemoEntry
    song: score.Composition
    n_samples: int
    artist: Rng
    track: Rng
    spread: float

    def drums(self) -> dict[str, Audio]:
        """Record the drum kit."""
        if self.entry.case == "no drums":
            return {}
        tone = kit.draw_tone(self.artist, self.entry.genre.electronic, self.spread)
        hits = score.drums(self.song, self.track)
        return band.play_drums(hits, kit.render_kit(tone, self.artist), self.n_samples)

    def instruments(self) -> dict[str, Audio]:
        """Record bass, guitar, piano and keys; in an instrumental one of them has the melody."""
        genre = self.song.genre
        tones = {leaf: band.draw_instrument(self.artist, self.spread) for leaf in LEAVES}
        low = band.sound_of(self._one_of(genre.bass.sound), tones["bass"], self.artist)
        notes = score.bass(self.song, genre.bass, self.track)
        out = {"bass": band.play(notes, low, self.n_samples, fade=0.04)}
        for leaf, part in self._parts().items():
            part = replace(part, sound=self._one_of(part.sound))
            sound = band.sound_of(part.sound, tones[leaf], self.artist)
            out[leaf] = self._record(leaf, part, sound)
        if self.entry.case == "instrumental":
            leaf = str(self.track.choice([leaf for leaf in SOLOISTS if leaf in out]))
            notes = score.as_notes(score.melody(self.song, 69, self.track))
            sound = band.sound_of(SOLOISTS[leaf], tones[leaf], self.artist)
            out[leaf] = 0.6 * out[leaf] + band.play(notes, sound, self.n_samples, fade=0.1)
        return out

    def _one_of(self, sounds: str) -> str:
        return str(self.artist.choice(sounds.split("|")))

    def _parts(self) -> dict[str, Part]:
        """Choose which of guitar, piano and keys play; two at least if the genre has them."""
        there = {leaf: p for leaf in INSTRUMENTS if (p := getattr(self.song.genre, leaf))}
        chosen = {leaf: p for leaf, p in there.items() if self.track.random() < p.chance}
        return chosen if len(chosen) >= 2 else there

    def _record(self, leaf: str, part: Part, sound: band.Sound) -> Audio:
        """Record an accompaniment: strummed guitars twice, left and right; others once, wide."""
        low, count = {"guitar": (50, 4), "piano": (55, 4), "keys": (60, 3)}[leaf]
        rng, n_samples = self.track, self.n_samples
        if leaf != "guitar":
            notes = score.accompany(self.song, part, low, count, rng)
            width = 0.5 if leaf == "piano" else 0.8
            return band.play(notes, sound, n_samples, fade=0.12, width=width)
        side = float(rng.uniform(0.3, 0.8)) * (1 if rng.random() < 0.5 else -1)
        out = np.zeros((2, n_samples), np.float32)
        for take in range(2 if part.style in ("power", "strum") else 1):
            notes = score.accompany(self.song, part, low, count, rng)
            mono = band.drive(band.play(notes, sound, n_samples, fade=0.05)[:1], part.sound)
            out += _gains(side * (-1) ** take) * mono
        return out

    def singers(self) -> dict[str, Audio]:
        """Record the lead, a second lead in duets, and harmonies in choruses and line ends."""
        if self.entry.case == "instrumental":
            return {}
        lead, other = (
            voice.draw_voice(self.artist, female, self.spread)
            for female in (self.entry.female, not self.entry.female)
        )
        phrases = score.melody(self.song, lead.center, self.track)
        duet = self.entry.case == "duet"
        mine = [p for p in phrases if not (duet and p.kind == "verse" and p.index % 2)]
        theirs = [p for p in phrases if duet and (p.kind == "chorus" or p.index % 2)]
        middle = np.full((2, 1), np.sqrt(0.5), np.float32)
        out = {_leaf(lead): middle * self._sing(mine, lead)}
        if theirs:
            moved = self._moved(theirs, other.center - lead.center, 0.01)
            out[_leaf(other)] = middle * self._sing(moved, other)
        choir = [p for p in phrases if p.kind == "chorus"] or phrases[-1:]
        out["background"] = self._choir(choir, lead, other)
        return out

    def _choir(self, phrases: list[score.Phrase], lead: voice.Voice, other: voice.Voice) -> Audio:
        """Record two harmony voices, left and right: they sing the lead's words or hold vowels."""
        vowel = str(self.track.choice(["u", "o", "a"]))
        holds = bool(self.track.random() < 0.4)
        out = np.zeros((2, self.n_samples), np.float32)
        for singer, above, position in ((other, 4, -0.55), (lead, -4, 0.55)):
            late = float(self.track.uniform(0.0, 0.03))
            shift = above if singer is lead else above + (5 if singer.female else -5)
            line = self._moved(phrases, shift, late)
            if holds:
                line = score.oohs(self.song, singer.center + above, vowel)
            out += _gains(position) * self._sing(line, singer)
        return out

    def _moved(self, line: list[score.Phrase], above: int, late: float) -> list[score.Phrase]:
        """Return a second voice, about `above` semitones higher and `late` seconds behind."""
        return [replace(p, syllables=score.harmony(self.song, p, above, late)) for p in line]

    def _sing(self, line: list[score.Phrase], singer: voice.Voice) -> Audio:
        """Sing phrases; syllables that start within the last 50 ms are left out."""
        last = self.n_samples / RATE - 0.05
        written = [s for phrase in line for s in phrase.syllables if s.start < last]
        return voice.sing(written, singer, self.n_samples, self.track)


def _gains(position: float) -> Audio:
    return np.array(pan(position), np.float32)[:, None]


def _leaf(singer: voice.Voice) -> str:
    return "lead_female" if singer.female else "lead_male"


def _balance(
    entry: DemoEntry, dry: Mapping[str, Audio], rng: Rng, spread: float
) -> dict[str, Audio]:
    """Put the players in one room and set their levels."""
    size = entry.genre.room * float(1.0 + 0.4 * spread * rng.uniform(-1.0, 1.0))
    response = room(rng, size, float(rng.uniform(0.3, 0.9)))
    out = {}
    for leaf in LEAVES:
        jitter = 1.8 * spread * float(rng.uniform(-1.0, 1.0))
        send = WET[leaf] * float(rng.uniform(0.6, 1.5))
        bright = 3.0 * spread * float(rng.uniform(-1.0, 1.0))
        if leaf not in dry:
            continue
        wet = dry[leaf] + np.float32(send) * reverberate(dry[leaf], response)
        wet = _tilted(wet, bright)
        family = "lead" if leaf.startswith("lead") else leaf
        level = LEVELS[leaf] + entry.genre.levels.get(family, 0.0) + jitter
        loud = loudness(wet)
        out[leaf] = wet * np.float32(0.1 * 10 ** (level / 20.0) / loud if loud else 0.0)
    return out


def _tilted(x: Audio, bright: float) -> Audio:
    """Raise frequencies above 1 kHz and lower those below, by `bright` dB each."""
    high, low = 10 ** (bright / 20.0), 10 ** (-bright / 20.0)
    return np.float32(high) * x + np.float32(low - high) * filtered(x, 0.0, 1000.0)


def loudness(x: Audio) -> float:
    """Return the RMS over the 100 ms blocks within 20 dB of the loudest one; 0 for silence."""
    n = x.shape[1] // 4410 * 4410
    blocks = x[:, :n].reshape(x.shape[0], -1, 4410)
    power = np.einsum("cbi,cbi->b", blocks, blocks) / (x.shape[0] * 4410)
    active = power[power > 0.01 * power.max(initial=0.0)]
    return float(np.sqrt(active.mean())) if len(active) else 0.0


def _bleed(case: str, stems: dict[str, Audio], rng: Rng) -> frozenset[str]:
    """Add neighbors to stems, as microphones pick them up; return the stems with bleed."""
    if case == "drum bleed":
        pairs = [("kick", "snare"), ("snare", "hihat"), ("snare", "kick"), ("toms", "snare")]
    elif case == "vocal bleed":
        leads = [leaf for leaf in VOCALS[:2] if leaf in stems]
        pairs = [(lead, "background") for lead in leads] + [("background", lead) for lead in leads]
    else:
        return frozenset()
    pairs = [pair for pair in pairs if pair[0] in stems and pair[1] in stems]
    picked_up = {pair: _distant(stems[pair[1]], rng) for pair in pairs}
    for (into, _), sound in picked_up.items():
        stems[into] = stems[into] + sound
    parents = {"lead"} if case == "vocal bleed" else set()
    return frozenset({into for into, _ in pairs} | parents)


def _distant(x: Audio, rng: Rng) -> Audio:
    """Return a sound as a distant microphone picks it up: later, duller, 10 to 16 dB lower."""
    delay = int(rng.integers(40, 130))
    late = np.pad(x, ((0, 0), (delay, 0)))[:, : x.shape[1]]
    gain = 10 ** (-float(rng.uniform(10.0, 16.0)) / 20.0)
    return np.float32(gain) * filtered(late, 120.0, 5000.0)


def _master(stems: Mapping[str, Audio], n_samples: int, rng: Rng) -> dict[str, Audio]:
    """Bring the mixture to its loudness with one gain curve for all stems, then to 16 bits."""
    mixture = np.sum(list(stems.values()), axis=0)
    target = 10 ** (float(rng.uniform(-17.5, -14.5)) / 20.0)
    gain = np.float32(target / max(loudness(mixture), 1e-9)) * _limiter(mixture * 1.0, target)
    n_fade = min(n_samples, round(0.02 * RATE))
    gain[n_samples - n_fade :] *= np.linspace(1.0, 0.0, n_fade, dtype=np.float32)
    peak, *others = (float(np.max(np.abs(x * gain))) for x in _nodes(stems, mixture))
    gain *= np.float32(min(CEILING / peak, 0.99 / max(others)))
    silence = np.zeros((2, n_samples), np.float32)
    louder = {leaf: stems.get(leaf, silence) * gain for leaf in LEAVES}
    return {leaf: (np.rint(x * GRID) / GRID).astype(np.float32) for leaf, x in louder.items()}


def _nodes(stems: Mapping[str, Audio], mixture: Audio) -> list[Audio]:
    """Return the signals that must not clip: the mixture, then the other nodes of the tree."""
    groups = (VOCALS, VOCALS[:2], DRUMS, INSTRUMENTS)
    sums = [sum((stems[leaf] for leaf in g if leaf in stems), 0.0 * mixture) for g in groups]
    return [mixture, mixture - sums[0], *sums, *stems.values()]


def _limiter(mixture: Audio, target: float) -> Audio:
    """Return a smooth gain curve, shape (samples,), that keeps the scaled mixture under −1 dB."""
    block = 64
    n = -(-mixture.shape[1] // block)
    peaks = np.zeros(n * block, np.float32)
    peaks[: mixture.shape[1]] = np.maximum(np.abs(mixture[0]), np.abs(mixture[1]))
    peaks = peaks.reshape(n, block).max(axis=1) * np.float32(target / loudness(mixture))
    gain = np.minimum(1.0, CEILING / np.maximum(peaks, 1e-9))
    reach = round(0.02 * RATE / block)
    gain = ndimage.uniform_filter1d(ndimage.minimum_filter1d(gain, 2 * reach + 1), reach)
    curve = np.interp(np.arange(mixture.shape[1]) / block, np.arange(n) + 0.5, gain)
    out: Audio = curve.astype(np.float32)
    return out
