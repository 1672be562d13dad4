"""From players to stems: who plays in a song, room, levels, bleed, limiter, 16-bit grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy import ndimage

from harness.audio import Audio
from harness.datasets import demo_band as band
from harness.datasets import demo_drums as kit
from harness.datasets import demo_score as score
from harness.datasets import demo_voice as voice
from harness.datasets.demo_catalog import Entry
from harness.datasets.demo_genres import Genre, Part
from harness.datasets.demo_synth import RATE, pan, reverberate, room
from harness.datasets.demo_synth import band as filtered

DRUMS = ("kick", "snare", "toms", "hihat", "cymbals")
VOCALS = ("lead_male", "lead_female", "background")
LEAVES = (*VOCALS, *DRUMS, "bass", "guitar", "piano", "keys")

# dB of the loud moments against the lead voice, and the part of reverb in each stem
LEVELS = {
    "lead_male": 0.0,
    "lead_female": 0.0,
    "background": -4.5,
    "kick": -2.0,
    "snare": -1.5,
    "toms": -3.0,
    "hihat": -9.0,
    "cymbals": -5.0,
    "bass": -2.5,
    "guitar": -5.5,
    "piano": -6.0,
    "keys": -7.0,
}
WET = {"kick": 0.03, "snare": 0.14, "toms": 0.14, "hihat": 0.06, "cymbals": 0.1, "bass": 0.02}
CEILING = 10 ** (-1.0 / 20.0)  # peak of the mixture
GRID = np.float32(32768.0)  # steps of 16-bit audio


def perform(
    entry: Entry, n_samples: int, artist: np.random.Generator, track: np.random.Generator
) -> tuple[dict[str, Audio], frozenset[str]]:
    """Compose and record a track: every leaf, (2, n_samples) on the 16-bit grid, and the bleed.

    Parameters
    ----------
    artist, track
        Random numbers for what an artist's songs share, and for this song.
    """
    spread = 1.0 if entry.split == "train" else 0.6
    song = score.compose(track, entry.genre, n_samples / RATE, spread)
    dry: dict[str, Audio] = {}
    if entry.case != "no drums":
        tone = kit.draw_tone(artist, entry.genre.electronic, spread)
        dry |= band.play_drums(score.drums(song, track), kit.render_kit(tone, artist), n_samples)
    dry |= _instruments(entry, song, n_samples, (artist, track))
    if entry.case != "instrumental":
        dry |= _singers(entry, song, n_samples, (artist, track))
    wet = _balance(entry, dry, track, spread)
    bleed = _bleed(entry.case, wet, track)
    return _master(wet, n_samples, track), bleed


def _instruments(
    entry: Entry,
    song: score.Song,
    n_samples: int,
    rngs: tuple[np.random.Generator, np.random.Generator],
) -> dict[str, Audio]:
    """Record bass, guitar, piano and keys; in an instrumental one of them has the melody."""
    artist, track = rngs
    genre = song.genre
    spread = 1.0 if entry.split == "train" else 0.6
    tones = {leaf: band.draw_instrument(artist, spread) for leaf in LEAVES}
    out: dict[str, Audio] = {}
    low = band.sound_of(_one_of(genre.bass.sound, artist), tones["bass"], artist)
    out["bass"] = band.play(score.bass(song, genre.bass, track), low, n_samples, fade=0.04)
    for leaf, part in _parts(genre, track).items():
        part = replace(part, sound=_one_of(part.sound, artist))
        sound = band.sound_of(part.sound, tones[leaf], artist)
        out[leaf] = _record(leaf, part, song, sound, n_samples=n_samples, rng=track)
    if entry.case == "instrumental":
        leaf = str(track.choice([leaf for leaf in ("guitar", "piano", "keys") if leaf in out]))
        notes = score.as_notes(score.melody(song, 69, track))
        name = {"guitar": "clean", "piano": "piano", "keys": "saw"}[leaf]
        sound = band.sound_of(name, tones[leaf], artist)
        out[leaf] = 0.6 * out[leaf] + band.play(notes, sound, n_samples, fade=0.1)
    return out


def _one_of(sounds: str, rng: np.random.Generator) -> str:
    """Choose one of the sounds named."""
    return str(rng.choice(sounds.split("|")))


def _parts(genre: Genre, rng: np.random.Generator) -> dict[str, Part]:
    """Choose who of guitar, piano and keys plays; two at least where the genre has them."""
    parts = {"guitar": genre.guitar, "piano": genre.piano, "keys": genre.keys}
    there = {leaf: part for leaf, part in parts.items() if part is not None}
    chosen = {leaf: part for leaf, part in there.items() if rng.random() < part.chance}
    return chosen if len(chosen) >= 2 else there


def _record(
    leaf: str,
    part: Part,
    song: score.Song,
    sound: band.Sound,
    *,
    n_samples: int,
    rng: np.random.Generator,
) -> Audio:
    """Record an accompanying instrument: guitars twice, left and right; the others once, wide."""
    low, count = {"guitar": (50, 4), "piano": (55, 4), "keys": (60, 3)}[leaf]
    if leaf != "guitar":
        notes = score.accompany(song, part, low, count, rng)
        return band.play(notes, sound, n_samples, fade=0.12, width=0.5 if leaf == "piano" else 0.8)
    takes = 2 if part.style in ("power", "strum") else 1
    side = float(rng.uniform(0.3, 0.8)) * (1 if rng.random() < 0.5 else -1)
    out = np.zeros((2, n_samples), np.float32)
    for take in range(takes):
        notes = score.accompany(song, part, low, count, rng)
        mono = band.drive(band.play(notes, sound, n_samples, fade=0.05)[:1], part.sound)
        gains = np.array(pan(side * (-1) ** take), np.float32)
        out += gains[:, None] * mono
    return out


def _singers(
    entry: Entry,
    song: score.Song,
    n_samples: int,
    rngs: tuple[np.random.Generator, np.random.Generator],
) -> dict[str, Audio]:
    """Record the lead, a second lead in duets, and harmonies in choruses and line ends."""
    artist, track = rngs
    spread = 1.0 if entry.split == "train" else 0.6
    lead = voice.draw_voice(artist, entry.female, spread)
    other = voice.draw_voice(artist, not entry.female, spread)
    phrases = score.melody(song, lead.centre, track)
    duet = entry.case == "duet"
    mine = [p for p in phrases if not (duet and p.kind == "verse" and p.index % 2)]
    theirs = [p for p in phrases if duet and (p.kind == "chorus" or p.index % 2)]
    middle = np.full((2, 1), np.sqrt(0.5), np.float32)
    out = {_leaf(lead): middle * _sing([mine], lead, n_samples, track)}
    if theirs:
        moved = [_moved(song, p, other.centre - lead.centre, 0.01) for p in theirs]
        out[_leaf(other)] = middle * _sing([moved], other, n_samples, track)
    choir = [p for p in phrases if p.kind == "chorus"] or phrases[-1:]
    out["background"] = _choir(song, choir, (lead, other), n_samples, track)
    return out


def _choir(
    song: score.Song,
    phrases: list[score.Phrase],
    singers: tuple[voice.Voice, voice.Voice],
    n_samples: int,
    rng: np.random.Generator,
) -> Audio:
    """Record two harmony voices left and right: they follow the lead's words, or hold vowels."""
    lead, other = singers
    vowel = str(rng.choice(["u", "o", "a"]))
    holds = bool(rng.random() < 0.4)
    out = np.zeros((2, n_samples), np.float32)
    for singer, above, position in ((other, 4, -0.55), (lead, -4, 0.55)):
        late = float(rng.uniform(0.0, 0.03))
        shift = above if singer is lead else above + (5 if singer.female else -5)
        line = [_moved(song, p, shift, late) for p in phrases]
        if holds:
            line = score.oohs(song, singer.centre + above, vowel)
        gains = np.array(pan(position), np.float32)[:, None]
        out += gains * _sing([line], singer, n_samples, rng)
    return out


def _leaf(singer: voice.Voice) -> str:
    """Return the leaf a lead singer belongs to."""
    return "lead_female" if singer.female else "lead_male"


def _moved(song: score.Song, phrase: score.Phrase, above: int, late: float) -> score.Phrase:
    """Return a second voice to a phrase, about `above` semitones over it, `late` seconds behind."""
    follow = score.harmony(song, phrase, above, late)
    return score.Phrase(phrase.kind, phrase.index, tuple(follow))


def _sing(
    lines: list[list[score.Phrase]],
    singer: voice.Voice,
    n_samples: int,
    rng: np.random.Generator,
) -> Audio:
    """Sing phrases; what starts within the last 50 ms is left out."""
    last = n_samples / RATE - 0.05
    written = [[s for phrase in line for s in phrase.syllables if s.start < last] for line in lines]
    return voice.sing(written, singer, n_samples, rng)


def _balance(
    entry: Entry, dry: Mapping[str, Audio], rng: np.random.Generator, spread: float
) -> dict[str, Audio]:
    """Put the players in one room and set their levels."""
    size = entry.genre.room * float(1.0 + 0.4 * spread * rng.uniform(-1.0, 1.0))
    response = room(rng, size, float(rng.uniform(0.3, 0.9)))
    out = {}
    for leaf in LEAVES:
        jitter = 1.8 * spread * float(rng.uniform(-1.0, 1.0))
        send = WET.get(leaf, 0.2) * float(rng.uniform(0.6, 1.5))
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
    """Raise what is above 1 kHz and lower what is below by `bright` dB each."""
    high, low = 10 ** (bright / 20.0), 10 ** (-bright / 20.0)
    return np.float32(high) * x + np.float32(low - high) * filtered(x, 0.0, 1000.0)


def loudness(x: Audio) -> float:
    """Return the RMS over the 100 ms blocks within 20 dB of the loudest one; 0 for silence."""
    n = x.shape[1] // 4410 * 4410
    blocks = x[:, :n].reshape(x.shape[0], -1, 4410)
    power = np.einsum("cbi,cbi->b", blocks, blocks) / (x.shape[0] * 4410)
    active = power[power > 0.01 * power.max(initial=0.0)]
    return float(np.sqrt(active.mean())) if len(active) else 0.0


def _bleed(case: str, stems: dict[str, Audio], rng: np.random.Generator) -> frozenset[str]:
    """Let microphones hear their neighbours; returns which stems do, parents included."""
    if case == "drum bleed":
        pairs = [("kick", "snare"), ("snare", "hihat"), ("snare", "kick"), ("toms", "snare")]
    elif case == "vocal bleed":
        leads = [leaf for leaf in VOCALS[:2] if leaf in stems]
        pairs = [(lead, "background") for lead in leads] + [("background", lead) for lead in leads]
    else:
        return frozenset()
    pairs = [pair for pair in pairs if pair[0] in stems and pair[1] in stems]
    heard = {pair: _distant(stems[pair[1]], rng) for pair in pairs}
    for (into, _), sound in heard.items():
        stems[into] = stems[into] + sound
    bled = {into for into, _ in pairs}
    return frozenset(bled | ({"lead"} if case == "vocal bleed" else set()))


def _distant(x: Audio, rng: np.random.Generator) -> Audio:
    """Return a sound as another microphone hears it: later, duller, 10 to 16 dB down."""
    delay = int(rng.integers(40, 130))
    late = np.pad(x, ((0, 0), (delay, 0)))[:, : x.shape[1]]
    gain = 10 ** (-float(rng.uniform(10.0, 16.0)) / 20.0)
    return np.float32(gain) * filtered(late, 120.0, 5000.0)


def _master(
    stems: Mapping[str, Audio], n_samples: int, rng: np.random.Generator
) -> dict[str, Audio]:
    """Bring the mixture to its loudness with one gain curve for all stems, then to 16 bits."""
    mixture = np.sum(list(stems.values()), axis=0)
    target = 10 ** (float(rng.uniform(-17.5, -14.5)) / 20.0)
    gain = np.float32(target / max(loudness(mixture), 1e-9)) * _limiter(mixture * 1.0, target)
    gain *= _end(n_samples)
    peak, *others = (_peak(x * gain) for x in _nodes(stems, mixture))
    gain *= np.float32(min(CEILING / peak, 0.99 / max(others)))
    silence = np.zeros((2, n_samples), np.float32)
    return {leaf: _to_grid(stems[leaf] * gain) if leaf in stems else silence for leaf in LEAVES}


def _peak(x: Audio) -> float:
    """Return the largest magnitude."""
    return max(float(x.max()), -float(x.min()))


def _to_grid(x: Audio) -> Audio:
    """Round to what a 16-bit file holds."""
    out: Audio = np.rint(x * GRID) / GRID
    return out


def _nodes(stems: Mapping[str, Audio], mixture: Audio) -> list[Audio]:
    """Return what must not clip: the mixture first, then every other node of the stem tree."""
    groups = (VOCALS, DRUMS, ("guitar", "piano", "keys"))
    sums = [sum((stems[leaf] for leaf in g if leaf in stems), 0.0 * mixture) for g in groups]
    leads = sum((stems[leaf] for leaf in VOCALS[:2] if leaf in stems), 0.0 * mixture)
    return [mixture, mixture - sums[0], leads, *sums, *stems.values()]


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


def _end(n_samples: int) -> Audio:
    """Return a gain of one that fades over the last 20 ms."""
    fade = np.ones(n_samples, np.float32)
    n = min(n_samples, round(0.02 * RATE))
    fade[n_samples - n :] = np.linspace(1.0, 0.0, n, dtype=np.float32)
    return fade
