"""Whether selection finds what was planted and claims what it may; what published scores tell.

    python benchmarks/selection.py --coverage          # intervals against the truth
    python benchmarks/selection.py --optimism          # in-sample and held-out scores against it
    python benchmarks/selection.py --planted           # winners by stem and genre found again
    python benchmarks/selection.py --claims            # false and true claims in four worlds
    python benchmarks/selection.py --speed             # 10,000 resamples, 20 separators, 240 tracks
    python benchmarks/selection.py --published FOLDER  # SiSEC 2018, audio-separator, MoisesDB

FOLDER holds ``sisec18_track_medians.csv``, ``moisesdb/*.csv`` and ``models-scores.json``, whichever
is there. Each line is of 2,000 simulated tables; ``--tables 200`` is a tenth of the work, and
``--artists 50`` prints only some lines of the first two.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import stats

from harness import selection
from harness.cli import boards
from harness.core.audio import Float64
from harness.results import importing
from harness.results.grid import Grid, IntArray, chosen_by, grids, track_scores
from harness.results.importing.import_scores import role_of
from harness.selection import mean_intervals
from harness.selection.policies import cross_fit
from harness.selection.statistics import (
    cluster_means,
    draw,
    holm,
    means_and_errors,
    resampled_means,
    signed_rank,
    studentized_means,
)

Bounds = Callable[[Float64, IntArray, Float64], Sequence[float]]
SPREADS: dict[str, Callable[[np.random.Generator, int], Float64]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed (exponential)": lambda rng, n: rng.exponential(size=n) - 1,
    "heavy tails (t, 3 degrees)": lambda rng, n: rng.standard_t(3, size=n),
}


def percentile(values: Float64, artists: IntArray, weights: Float64) -> Sequence[float]:
    return np.quantile(resampled_means(values, artists, weights)[:, 0], [0.025, 0.975]).tolist()


def bca(values: Float64, artists: IntArray, weights: Float64) -> Sequence[float]:
    means = resampled_means(values, artists, weights)[:, 0]
    sums, sizes = np.bincount(artists, values[:, 0]), np.bincount(artists)
    without = (values.sum() - sums) / (len(values) - sizes)
    pull = without.mean() - without
    skew = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    bias = stats.norm.ppf((means < values.mean()).mean())
    z = bias + stats.norm.ppf([0.025, 0.975])
    return np.quantile(means, stats.norm.cdf(bias + z / (1 - skew * z))).tolist()


def percentile_t(values: Float64, artists: IntArray, weights: Float64) -> Sequence[float]:
    mean, error = means_and_errors(values, artists)
    t = studentized_means(values, artists, weights)[:, 0]
    return (mean - np.quantile(t, [0.975, 0.025]) * error).tolist()


RIVALS: dict[str, Bounds] = {"percentile": percentile, "BCa": bca, "percentile-t": percentile_t}


def print_coverage(tables: int, artists: Sequence[int]) -> None:
    """Print how often 95 % intervals of a mean hold it, and how wide they are."""
    print("| artists | spread | as used | by track | " + " | ".join(RIVALS) + " |")
    print("|---|---|---|---|" + "---|" * len(RIVALS))
    for n in artists or (8, 15, 30, 50):
        for spread, noise in SPREADS.items():
            rng = np.random.default_rng(n)
            found = np.array([_hits(rng, n, noise, seed) for seed in range(tables)])
            cells = zip(found[..., 0].mean(axis=0), np.median(found[..., 1], axis=0), strict=True)
            row = " | ".join(f"{100 * hit:.1f} % ({width:.2f})" for hit, width in cells)
            print(f"| {n} | {spread} | {row} |", flush=True)


def _hits(
    rng: np.random.Generator,
    n: int,
    noise: Callable[[np.random.Generator, int], Float64],
    seed: int,
) -> list[tuple[float, float]]:
    """Return for each kind of interval whether it holds 0, the truth, and its width."""
    artists = np.arange(n).repeat(rng.choice([1, 1, 1, 2, 3], n))
    values = 0.7 * (noise(rng, n)[artists] + noise(rng, len(artists)))[:, None]
    used = mean_intervals(values, artists, resamples=2000, seed=seed)
    apart = mean_intervals(values, np.arange(len(artists)), resamples=2000, seed=seed)
    bounds = [(used.low[0], used.high[0]), (apart.low[0], apart.high[0])]
    weights = draw(n, 2000, seed)
    bounds += [tuple(rival(values, artists, weights)) for rival in RIVALS.values()]
    return [(low <= 0 <= high, high - low) for low, high in bounds]


def print_optimism(tables: int, sizes: Sequence[int]) -> None:
    """Print what the chosen separator scores, less what it is worth on all the music there is."""
    truth = np.linspace(0.0, 0.5, 10)
    print("| artists | policy | in sample − truth | held-out − truth | chosen is the true best |")
    print("|---|---|---|---|---|")
    for artists in sizes or (10, 25, 50):
        for name, n in (("best mean", tables), ("best median", tables), ("tuned", tables // 10)):
            policy, rows = selection.POLICIES[name], []
            for seed in range(n):
                grid = simulated(truth, artists, seed)
                worth = dict(zip(grid.separators, truth, strict=True))
                fitted, held = policy(grid)(grid), cross_fit(grid, policy, folds=10)
                base = grid.scores - truth  # what the tracks of this table are above all music
                luck = base.mean()
                rows.append(
                    (
                        grid.at(fitted).mean() - luck - np.mean([worth[x] for x in fitted]),
                        grid.at(held).mean() - luck - np.mean([worth[x] for x in held]),
                        np.mean([worth[x] == truth.max() for x in held]),
                    )
                )
            mean, error = np.mean(rows, axis=0), np.std(rows, axis=0) / np.sqrt(n)
            cells = " | ".join(
                f"{m:+.3f} ± {e:.3f} dB" for m, e in zip(mean[:2], error, strict=False)
            )
            print(f"| {artists} | {name} | {cells} | {100 * mean[2]:.0f} % |", flush=True)


def simulated(means: Float64, artists: int, seed: int, genres: int = 1) -> Grid:
    """Return two tracks an artist: hard or easy for all alike, and 1.5 dB of each one's own."""
    rng = np.random.default_rng(seed)
    n = 2 * artists
    own = rng.normal(0, 1.0, (artists, len(means))).repeat(2, axis=0)
    scores = means + rng.normal(8, 3, (n, 1)) + own + rng.normal(0, 1.1, (n, len(means)))
    number = np.arange(n)
    return Grid(
        dataset="simulated",
        input="mixture",
        fed_by="",
        stem="vocals",
        separators=tuple(f"s{i:02d}" for i in range(len(means))),
        splits=np.full(n, "test", dtype=object),
        tracks=np.array([f"track {i:04d}" for i in number], dtype=object),
        artists=np.array([f"artist {i // 2:04d}" for i in number], dtype=object),
        genres=np.array([f"genre {i // 2 % genres}" for i in number], dtype=object),
        scores=scores,
    )


def print_planted(tables: int) -> None:
    """Print how often the planted winner is chosen, overall and in a genre of its own."""
    print("| artists | winner leads by | found by other artists | claimed | claimed where equal |")
    print("|---|---|---|---|---|")
    for artists in (10, 25, 50):
        for lead in (0.5, 1.0, 2.0):
            means = np.array([0.0, 0.0, lead, 0.0, 0.0])
            found, claimed, false = [], [], []
            for seed in range(tables):
                grid = simulated(means, artists, seed)
                found.append(np.mean(cross_fit(grid, selection.best_mean) == "s02"))
                pairs = selection.pairs(grid)
                ours = (pairs["a"] == "s02") | (pairs["b"] == "s02")
                claimed.append((pairs.loc[ours, "verdict"] == "s02 is better").mean())
                false.append(pairs.loc[~ours, "verdict"].str.contains("better").any())
            cells = " | ".join(f"{100 * np.mean(x):.1f} %" for x in (found, claimed, false))
            print(f"| {artists} | {lead} dB | {cells} |", flush=True)
    print("\n| artists, 3 genres | rival leads in one genre by | found there | claimed elsewhere |")
    print("|---|---|---|---|")
    for artists in (24, 60, 120):
        for lead in (0.0, 1.0, 2.0):
            found, false = [], []
            for seed in range(tables):
                grid = simulated(np.array([2.0, 0.0, 0.0, 0.0]), artists, seed, genres=3)
                grid.scores[grid.genres == "genre 1", 3] += 2.0 + lead if lead else 0.0
                cells = selection.genre_cells(grid, resamples=1000).set_index("genre")
                strong = cells["strong"] & (cells["best"] == "s03")
                found.append(strong["genre 1"])
                false.append(cells["strong"].drop("genre 1").any())
            shares = " | ".join(f"{100 * np.mean(x):.1f} %" for x in (found, false))
            print(f"| {artists} | {lead} dB | {shares} |", flush=True)


def noise_of(rng: np.random.Generator, artists: IntArray, spread: float) -> Float64:
    """Return the noise of five separators: of artists (1 dB) and tracks (1.1 dB) times spread."""
    own = rng.normal(0, 1.0, (artists.max() + 1, 5))[artists]
    return np.asarray(spread * (own + rng.normal(0, 1.1, (len(artists), 5))))


def symmetric(rng: np.random.Generator, n: int) -> tuple[Float64, IntArray]:
    artists = np.arange(n).repeat(2)
    return noise_of(rng, artists, 1.0), artists


def rare_failures(rng: np.random.Generator, n: int) -> tuple[Float64, IntArray]:
    """Let the first separator lead by 1 dB, and fail on 5 % of the songs by 15 to 25 dB."""
    artists = np.arange(n).repeat(2)
    scores = noise_of(rng, artists, 0.3)
    fails = rng.random(2 * n) < 0.05
    scores[:, 0] += 1.0 - fails * rng.uniform(15, 25, 2 * n)
    return scores, artists


def easy_artists(rng: np.random.Generator, n: int) -> tuple[Float64, IntArray]:
    """Let 20 % of the artists have 10 songs, the others 1, 1 or 2: the first one leads on those."""
    large = rng.random(n) < 0.2
    artists = np.arange(n).repeat(np.where(large, 10, rng.choice((1, 1, 2), n)))
    scores = noise_of(rng, artists, 0.5)
    many, few = 0.2 * 10, 0.8 * 4 / 3
    scores[:, 0] += 1.5 * np.where(large, few, -many)[artists] / (many + few)
    return scores, artists


def left_skewed(rng: np.random.Generator, n: int) -> tuple[Float64, IntArray]:
    artists = np.arange(n).repeat(2)
    scores = noise_of(rng, artists, 1.0)
    tails = rng.gamma(0.5, size=n)[artists] + 1.1 * rng.gamma(0.5, size=2 * n)
    scores[:, 0] = (0.5 * 2.1 - tails) / 0.5**0.5
    return scores, artists


WORLDS = {
    "symmetric": symmetric,
    "rare failures": rare_failures,
    "easy artists": easy_artists,
    "left-skewed": left_skewed,
}
LEADS = {10: 2.2, 20: 1.4, 50: 0.85}  # dB, of which about half are claimed on symmetric scores


def _before(scores: Float64, artists: IntArray) -> tuple[Float64, Float64, Float64]:
    """Return low, high and claims (−1, 0, 1) of the percentile interval and the signed ranks."""
    left, right = np.triu_indices(5, 1)
    gaps = scores[:, left] - scores[:, right]
    found = mean_intervals(gaps, artists, resamples=1000)
    sure = holm(signed_rank(cluster_means(gaps, artists))) < 0.05
    return found.low, found.high, sure * (1.0 * (found.low > 0) - (found.high < 0))


def _now(scores: Float64, artists: IntArray) -> tuple[Float64, Float64, Float64]:
    table = selection.pairs(of_scores(scores, artists))
    claims = 1.0 * (table["better"] == table["a"]) - (table["better"] == table["b"])
    return table["low"].to_numpy(), table["high"].to_numpy(), claims.to_numpy()


def of_scores(scores: Float64, artists: IntArray) -> Grid:
    """Return a grid of these scores."""
    grid = simulated(np.zeros(scores.shape[1]), (len(scores) + 1) // 2, 0)
    grid = grid.take(np.arange(len(scores)))
    who = np.array([f"artist {i:04d}" for i in artists], dtype=object)
    return replace(grid, scores=scores, artists=who)


def print_claims(tables: int, sizes: Sequence[int]) -> None:
    """Print coverage, false claims per table and power, by the former rule and by this one.

    All five means are equal for coverage and false claims. For power the first one leads by `LEADS`
    more. Coverage and power are of its four comparisons.
    """
    print("| world | artists | coverage | false claims | power | (before) |")
    print("|---|---|---|---|---|---|")
    for world, make in WORLDS.items():
        for n in sizes or LEADS:
            rows = []
            for seed in range(tables):
                row = []
                scores, artists = make(np.random.default_rng([seed, n]), n)
                lead = scores + LEADS.get(n, 1.0) * (np.arange(5) == 0)
                for rule in (_now, _before):
                    low, high, claims = rule(scores, artists)
                    row += [((low <= 0) & (high >= 0))[:4].mean(), claims.any()]
                    row += [(rule(lead, artists)[2][:4] > 0).mean()]
                rows.append(row)
            cells = [f"{100 * x:.1f} %" for x in np.mean(rows, axis=0)]
            print(f"| {world} | {n} | {' | '.join(cells[:3])} | {', '.join(cells[3:])} |")


def print_speed() -> None:
    """Print how long the ranking of four stems takes, all pairs and letters included."""
    many = [simulated(np.linspace(0, 2, 20), 120, seed) for seed in range(4)]
    start = time.perf_counter()
    for grid in many:
        selection.ranking(grid)
    seconds = time.perf_counter() - start
    print(f"10,000 resamples, 20 separators, 240 tracks, 4 stems: {seconds:.1f} s")


def print_published(folder: Path) -> None:
    """Print what can be told of published scores: ranks with letters, oracle against deployable."""
    for pattern, title in PUBLISHED.items():
        files = sorted(folder.glob(pattern))
        if not files:
            continue
        run = importing.read_published(files, importing.Request())
        scores = run.scores.assign(separator=run.scores["separator"].str.partition(":")[2])
        (metric,) = chosen_by(scores).values()
        print(f"\n## {title}")
        for grid in grids(track_scores(scores, metric)):
            _print_ranking(grid.complete(min_tracks=30), of=len(grid.separators))
        blind = [role_of(name) == "separator" for name in scores["separator"]]
        found = selection.summary(track_scores(scores[blind], metric))
        for board, head, rows, _ in boards.summary_boards(found, "best mean"):
            print(f"\n{board}\n\n| {' | '.join(head)} |\n{'|---' * len(head)}|")
            print("\n".join(f"| {' | '.join(row)} |" for row in rows))


def _print_ranking(grid: Grid, of: int) -> None:
    """Print one stem: who shares a letter cannot be told apart."""
    board = selection.ranking(grid)
    told = selection.pairs(grid).set_index(["a", "b"])["verdict"].str.contains("better")
    order = board["separator"].tolist()
    next_to = [told.get((a, b), told.get((b, a))) for a, b in pairwise(order)]
    below = [told.get((order[0], b), told.get((b, order[0]))) for b in order[1:]]
    print(f"\n### {grid.stem}: {len(grid.tracks)} tracks by {grid.n_artists} artists\n")
    print(
        f"{len(order)} of {of} separators have them. {below.count(False)} cannot be told from the"
    )
    print(f"first, and {next_to.count(False)} of {len(next_to)} neighbours not from each other.\n")
    print("| separator | median | mean (95 %) | rank (95 %) | best in | group |")
    print("|---|---|---|---|---|---|")
    for row in board.head(31).itertuples():
        mean = f"{row.mean:.2f} ({row.low:.2f} to {row.high:.2f})"
        rank = f"{row.rank} ({row.rank_low}–{row.rank_high})"
        best = f"{100 * row.p_best:.0f} %"
        group = row.group if len(row.group) <= 8 else f"{row.tied} others"
        print(f"| {row.separator} | {row.median:.2f} | {mean} | {rank} | {best} | {group} |")


PUBLISHED = {
    "sisec18_track_medians.csv": "SiSEC 2018: test tracks of MUSDB18, BSS Eval v4 SDR",
    "moisesdb/*4.csv": "MoisesDB: whole-track SNR; artists unknown, each track for itself",
    "models-scores.json": "audio-separator: training tracks of MUSDB18, SDR",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("coverage", "optimism", "planted", "claims", "speed"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--published", type=Path)
    parser.add_argument("--tables", type=int, default=2000, help="simulated tables a line")
    parser.add_argument("--artists", type=int, nargs="*", help="only the lines of so many artists")
    asked = parser.parse_args()
    for name, show in (
        ("coverage", print_coverage),
        ("optimism", print_optimism),
        ("claims", print_claims),
    ):
        if getattr(asked, name):
            show(asked.tables, asked.artists)
    if asked.planted:
        print_planted(asked.tables // 10)
    if asked.speed:
        print_speed()
    if asked.published:
        print_published(asked.published)


if __name__ == "__main__":
    main()
