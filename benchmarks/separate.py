"""What to do after a separator of two stems: drums, bass and other of its accompaniment.

Vocals and accompaniment come from one separator. Every separator of four stems then gets the
mixture or that accompaniment, and what it returns is used in one of four ways:

* as returned: the three stems as they are; they do not sum to the accompaniment
* shared: each gets a third of what is missing to the accompaniment
* other: drums and bass as they are, and other is the accompaniment without them
* masks: the accompaniment's spectrogram times the share of each stem's power in that of all three

    python benchmarks/separate.py --data musdb18hq=PATH --data moisesdb=PATH   # prints Markdown

Scores are SNR of whole tracks, each limited to ±30 dB, means over tracks. The choice is tested by
artist: the way that is best on all other artists' tracks is scored on each artist's own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
import torch

from harness import registry
from harness.cli.arguments import parse_data
from harness.core import audio
from harness.core.audio import Audio
from harness.datasets.available import DatasetChoice, choose_datasets
from harness.datasets.tracks import Excerpt, Track, read_sources, track_length
from harness.registry.weight_files import obstacle
from harness.separators import load
from harness.separators.protocol import made_of, run

BACKING = ("drums", "bass", "other")
INPUTS = ("mixture", "accompaniment")
LIMIT = 30.0  # dB
Way = tuple[str, str, str]  # separator, input, how its stems are used
Scores = dict[Way, dict[str, float]]  # {way: {stem: SNR in dB}} of one track


def snr(reference: Audio, estimate: Audio) -> float:
    """Return the signal-to-noise ratio in dB, within ±`LIMIT`."""
    noise = np.square(reference - estimate, dtype=np.float64).sum()
    ratio = np.square(reference, dtype=np.float64).sum() / max(noise, 1e-30)
    return float(np.clip(10 * np.log10(max(ratio, 1e-30)), -LIMIT, LIMIT))


def masked(whole: Audio, stems: Mapping[str, Audio]) -> dict[str, Audio]:
    """Divide a signal, shape (channels, samples), by the power of its stems."""
    shape: dict = {"n_fft": 4096, "hop_length": 1024, "window": torch.hann_window(4096)}
    spectrum = torch.stft(torch.from_numpy(whole), **shape, return_complex=True)
    power = {
        stem: torch.stft(torch.from_numpy(signal), **shape, return_complex=True).abs() ** 2 + 1e-9
        for stem, signal in stems.items()
    }
    total = sum(power.values())
    return {
        stem: torch.istft(spectrum * mine / total, **shape, length=whole.shape[1]).numpy()
        for stem, mine in power.items()
    }


def ways(stems: Mapping[str, Audio], whole: Audio) -> dict[str, dict[str, Audio]]:
    """Return the stems of an accompaniment in each of the ways to use a separator's estimates."""
    left = whole - sum(stems.values())
    return {
        "as returned": dict(stems),
        "shared": {stem: signal + left / 3 for stem, signal in stems.items()},
        "other": {**stems, "other": stems["other"] + left},
        "masks": masked(whole, stems),
    }


def of_track(track: Track, rate: int, options: argparse.Namespace, separators: dict) -> Scores:
    """Score every way on one track."""
    start, frames = Excerpt(options.seconds).window(track_length(track), rate)
    every = registry.load()

    def read(sources: tuple) -> Audio:
        return audio.to_channels(read_sources(sources, rate, start, frames), 2, track.name)

    mixture = read(track.mixture)
    references = {
        stem: read(track.stems[stem]) for stem in ("vocals", *BACKING) if stem in track.stems
    }
    true = {stem: signal for stem, signal in references.items() if np.abs(signal).max() > 1e-4}
    first, _ = run(separators[options.first], every[options.first], mixture, rate)
    whole = mixture - first["vocals"]
    scores: Scores = {}
    if "vocals" in true:
        scores[options.first, "mixture", "vocals"] = {
            "vocals": snr(true["vocals"], first["vocals"])
        }
    for name, source in product(separators, INPUTS):
        if name == options.first:
            continue
        given = mixture if source == "mixture" else whole
        found, _ = run(separators[name], every[name], given, rate)
        stems = {stem: made_of(found, stem) for stem in BACKING}
        for how, estimates in ways(stems, whole).items():
            scores[name, source, how] = {
                stem: snr(true[stem], estimates[stem]) for stem in BACKING if stem in true
            }
    return scores


def all_tracks(options: argparse.Namespace) -> Iterator[tuple[Track, Scores]]:
    """Yield each track with its scores."""
    every = registry.load()
    names = options.separator or [
        name
        for name, entry in every.items()
        if entry.role == "separator" and entry.input == "mixture" and not obstacle(entry)
        if set(BACKING) <= set(entry.stems)
    ]
    separators = {name: load(every[name], sample_rate=44100) for name in (options.first, *names)}
    for dataset in choose_datasets(DatasetChoice(parse_data(options.data), split="all"), 1):
        for track in dataset.tracks:
            print(track.name, file=sys.stderr, flush=True)
            yield track, of_track(track, dataset.sample_rate, options, separators)


def mean(scores: list[Scores], way: Way) -> dict[str, float]:
    """Return the means of one way over tracks, by stem, and over the three stems."""
    each = {
        stem: [found[way][stem] for found in scores if stem in found.get(way, {})]
        for stem in BACKING
    }
    means = {stem: statistics.fmean(values) for stem, values in each.items() if values}
    return {**means, "mean": statistics.fmean(means.values())}


def show(found: list[tuple[Track, Scores]], options: argparse.Namespace) -> None:
    """Print the vocals per track, the table of all ways, and the test by artist."""
    scores = [each for _, each in found]
    every = [way for way in scores[0] if way[2] != "vocals"]
    vocals = [
        f"{track.name} {each[way]['vocals']:.1f}"
        for track, each in found
        if (way := (options.first, "mixture", "vocals")) in each
    ]
    print(f"Vocals by {options.first}, SNR in dB: {', '.join(vocals)}\n")
    print(f"| separator | input | stems | drums | bass | other | mean, {len(found)} tracks |")
    print("|---|---|---|---|---|---|---|")
    for way in sorted(every, key=lambda way: -mean(scores, way)["mean"])[: options.top]:
        values = mean(scores, way)
        print(f"| {' | '.join(way)} | {' | '.join(f'{v:.2f}' for v in values.values())} |")
    print("\n| artist | chosen on the other artists | SNR in dB | best way for this artist |")
    print("|---|---|---|---|")
    for artist in dict.fromkeys(track.artist for track, _ in found):
        own = [each for track, each in found if track.artist == artist]
        others = [each for track, each in found if track.artist != artist]
        if others:
            picked, best = (max(every, key=lambda w: mean(s, w)["mean"]) for s in (others, own))
            print(f"| {artist} | {', '.join(picked)} | {mean(own, picked)['mean']:.2f} "
                  f"| {', '.join(best)}, {mean(own, best)['mean']:.2f} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--first", default="spleeter_2stems", help="makes the accompaniment")
    parser.add_argument("--separator", action="append", default=[], help="of four stems; all here")
    parser.add_argument("--seconds", type=float, help="only the middle of each track")
    parser.add_argument("--top", type=int, default=100, help="rows of the table")
    options = parser.parse_args()
    show(list(all_tracks(options)), options)


if __name__ == "__main__":
    main()
