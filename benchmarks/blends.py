"""Whether blends are scored exactly and fast, and how other ways to combine compare.

    python benchmarks/blends.py --speed                 # 100,000 blends of 10 separators, 50 tracks
    python benchmarks/blends.py --exact musdb18hq=PATH  # inner products against blended audio

``--exact`` separates every track with each ``--separator`` and scores random blends, of one weight
and by frequency band, both ways; then
it prints the mean SNR of plain mean, median, minimum and maximum spectrum of their estimates, and
what a blend chosen on the other tracks is worth. There each track stands for itself, whoever made
it; ``harness select``, which holds artists out, says what the blends of a run are worth.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from harness import registry, selection
from harness.cli import boards
from harness.cli.arguments import parse_data
from harness.core import taxonomy
from harness.core.audio import Audio
from harness.core.bands import EDGES, weighted
from harness.datasets.available import DatasetChoice, choose_datasets
from harness.datasets.tracks import Track, read_sources, track_length
from harness.metrics import BlendProducts, analyse, harmonic_mean, scorer, snr
from harness.results import grid
from harness.results.runs import table
from harness.separators import load
from harness.separators.ensemble import COMBINE
from harness.separators.protocol import made_of, run


def print_speed(n_blends: int = 100_000, n_separators: int = 10, n_tracks: int = 50) -> None:
    """Print how long it takes to score random blends on tracks of four minutes."""
    rng = np.random.default_rng(0)
    tracks = [made_up(rng, n_separators) for _ in range(n_tracks)]
    weights = rng.dirichlet(np.ones(n_separators), n_blends)
    what = f"blends of {n_separators} separators, {n_tracks} tracks"
    start, cpu = time.perf_counter(), time.process_time()
    harmonic_mean(*(scorer(tracks, name)(weights) for name in ("snr", "sdr")))
    seconds = f"{time.perf_counter() - start:.1f} s ({time.process_time() - cpu:.1f} s of CPU)"
    print(f"{n_blends:,} {what}, harmonic mean: {seconds}")
    start = time.perf_counter()
    scorer(tracks, "csdr")(weights[:1000])
    print(f"1,000 {what}, csdr of 240 frames: {time.perf_counter() - start:.1f} s")


def made_up(rng: np.random.Generator, n: int, n_frames: int = 240) -> BlendProducts:
    """Return inner products as of a track of four minutes."""
    true = rng.normal(size=256)
    made = true + rng.uniform(0.3, 1, (n, 1)) * rng.normal(size=(n, 256))
    inside = true + 0.8 * (made - true)
    signals, projected = np.vstack([true, made]), np.vstack([true, inside])
    loud = rng.uniform(0.1, 1, (n_frames, 1, 1))
    plain, own = loud * (signals @ signals.T), loud * (projected @ projected.T)
    rest = loud * np.ones((n, n))
    whole = plain.sum(axis=0), own[:, 1:, 1:].sum(axis=0)
    names = tuple(f"s{i}" for i in range(n))
    return BlendProducts(plain, own, rest, own[:, 1:, 1:], rest, *whole, names)


def print_exact(data: str, separators: Sequence[str], jobs: int) -> None:
    """Print the largest difference between both ways to score, and means of ways to combine."""
    folders = parse_data([data])
    (found,) = choose_datasets(DatasetChoice(folders, list(folders), "all"), jobs)
    entries = [registry.load()[name] for name in separators]
    worst, ways = defaultdict[str, float](float), defaultdict[tuple[str, str], list[float]](list)
    kept: dict[tuple[str, str, str, str], BlendProducts] = {}
    by_band: dict[tuple[str, str, str, str], BlendProducts] = {}
    for track in found.tracks:
        rate, frames = found.sample_rate, track_length(track)
        mixture = read_sources(track.mixture, rate, frames=frames)
        stems = true_stems(track, rate, frames)
        ready = analyse(stems, rate)
        made = {
            entry.name: run(
                load(entry, stems=tuple(stems), sample_rate=rate), entry, mixture, rate
            )[0]
            for entry in entries
        }
        for stem, reference in stems.items():
            given = {name: made_of(out, stem) for name, out in made.items()}
            blend, cut = ready.blend(stem, given), ready.blend(stem, given, edges=EDGES)
            compare(blend, given, ready, stem, rate, worst)
            compare(cut, given, ready, stem, rate, worst)
            if reference.any():
                kept[found.name, track.split, track.name, stem] = blend
                by_band[found.name, track.split, track.name, stem] = cut
                for name, combine in COMBINE.items():
                    ways[stem, name].append(snr(reference, combine([*given.values()])))
                for name, estimate in given.items():
                    ways[stem, name].append(snr(reference, estimate))
    for name, value in worst.items():
        print(f"{name}: inner products and audio differ by at most {value:.1e} dB")
    for (stem, name), values in ways.items():
        print(f"{stem}, {name}: {np.mean(values):.2f} dB of SNR, {len(values)} tracks")
    print_worth(kept)
    print_worth(by_band)


def print_worth(kept: Mapping[tuple[str, str, str, str], BlendProducts]) -> None:
    """Print what blends are worth on tracks that did not choose them."""
    rows = [
        ("", dataset, split, track, "", "", name, "mixture", stem, metric, value, "ok", "")
        for (dataset, split, track, stem), blend in kept.items()
        for name in blend.separators
        for metric, value in blend.score({name: 1.0}).items()
    ]
    worth, _ = selection.blends(grid.track_scores(table(rows)), kept)
    for title, head, lines, _ in boards.blend_boards(worth):
        print(f"\n{title}", head, *lines, sep="\n")


def true_stems(track: Track, rate: int, frames: int) -> Mapping[str, Audio]:
    """Return the stems of the first level that the track has."""
    level = next(iter(taxonomy.levels(track.stems).values()))
    return {stem: read_sources(track.stems[stem], rate, frames=frames) for stem in level}


def compare(  # type: ignore[no-untyped-def]
    blend: BlendProducts, given: Mapping[str, Audio], ready, stem: str, rate: int, worst
) -> None:
    """Note by how much the scores of three random blends differ from those of their audio."""
    n = blend.n_bands
    for weights in np.random.default_rng(1).dirichlet(np.ones(len(given)), (3, n)):
        named = {name: tuple(by) for name, by in zip(given, weights.T, strict=True)}
        if n == 1:
            audio = sum(w * given[name].astype(np.float64) for name, (w,) in named.items())
        else:
            audio = sum(weighted(given[name], rate, blend.edges, by) for name, by in named.items())
        heard = ready.score({stem: audio})[stem]
        for metric, value in blend.score(named).items():
            if np.isfinite(value):
                key = metric + (" by band" if n > 1 else "")
                worst[key] = max(worst[key], abs(value - heard[metric].value))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--exact", metavar="NAME=PATH")
    parser.add_argument("--separator", action="append")
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    if asked.speed:
        print_speed()
    if asked.exact:
        print_exact(asked.exact, asked.separator or ["mixture", "nmf", "repet_sim"], asked.jobs)


if __name__ == "__main__":
    main()
