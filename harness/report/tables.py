"""Summaries of a run's tidy table: pure functions from DataFrame to DataFrame.

A *competitor* is a separator with the input it was given (``mixture``, ``reference:drums``,
``cascade:htdemucs:drums``); competitors are compared only where the input is the same. Ranked
competitors are compared on the *common tracks* alone: those on which every ranked competitor that
gives the stem has a value and saw none of them in training. All others (anchors, oracles,
ensembles) are summarised on the same tracks, so that every number of a column is about the same
music.
Values may be infinite (a perfect estimate); NaN means that no value is defined.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from harness.metrics import harmonic_mean
from harness.taxonomy import ancestors, in_order

HARMONIC = "harmonic_mean"  # of SNR and SDR, what separators are selected by
OVERALL = "overall"
NO_GENRE = "unknown"
Leaks = Collection[tuple[str, str, str]]  # (separator, dataset, track) seen in training
_STEM = ["input", "stem"]
COMPETITOR = [*_STEM, "separator"]  # whose scores are summarised together
_CELL = ["dataset", "track", "separator", "input", "stem"]


def level(stem: str) -> str:
    """Return the level whose table shows the stem: main, vocals, drums or other.

    Examples
    --------
    >>> level("accompaniment"), level("snare"), level("lead_male"), level("overall:drums")
    ('main', 'drums', 'vocals', 'drums')
    """
    if stem.startswith(OVERALL):
        return stem.partition(":")[2] or "main"
    return next((a for a in ancestors(stem) if a in ("vocals", "drums", "other")), "main")


def overall_stems(stems: Iterable[str]) -> list[str]:
    """Return which stems of one level make its overall score; none of them contains another.

    Examples
    --------
    >>> overall_stems({"vocals", "drums", "bass", "other", "accompaniment"})
    ['vocals', 'drums', 'bass', 'other']
    >>> overall_stems({"lead", "lead_male", "lead_female", "background"})
    ['lead', 'background']
    """
    have = set(stems)
    if {"drums", "bass", "other"} <= have:
        have.discard("accompaniment")
    return in_order(stem for stem in have if not have.intersection(ancestors(stem)))


def add_harmonic(scores: pd.DataFrame) -> pd.DataFrame:
    """Append the harmonic mean of SNR and SDR, in dB, as one more metric.

    Undefined where either is; see `harness.metrics.harmonic_mean`.
    """
    snr, sdr = (scores[scores["metric"] == name] for name in ("snr", "sdr"))
    both = snr.merge(sdr[[*_CELL, "value", "status"]], on=_CELL, suffixes=("", "_sdr"))
    mean = harmonic_mean(both["value"].to_numpy(float), both["value_sdr"].to_numpy(float))
    status = both["status"].where(both["status_sdr"] == "ok", both["status_sdr"])
    rows = both.assign(value=mean, metric=HARMONIC, status=status)[scores.columns]
    return pd.concat([scores, rows], ignore_index=True) if len(rows) else scores


def add_overall(scores: pd.DataFrame, ranked: Collection[str]) -> pd.DataFrame:
    """Append each level's overall score: per track, the mean over the stems of the level.

    The stems are those that any ranked separator gives (any competitor, if none is ranked); who
    lacks one of them, or has it undefined on a track, has no overall score there.
    """
    ok = scores[(scores["status"] == "ok") & scores["value"].notna()]
    extra = []
    for key, block in ok.groupby(["dataset", "input", "metric"], sort=True, observed=True):
        asked = block[block["separator"].isin(ranked)]["stem"]
        given = set(asked if len(asked) else block["stem"])
        for name in sorted({level(stem) for stem in given}):
            stems = overall_stems(stem for stem in given if level(stem) == name)
            if len(stems) > 1:
                rows = _overall(block, stems, name)
                dataset, source, metric = map(str, key)
                extra.append(rows.assign(dataset=dataset, input=source, metric=metric))
    if not extra:
        return scores
    rows = pd.concat(extra, ignore_index=True).assign(status="ok", note="")
    return pd.concat([scores, rows.reindex(columns=scores.columns)], ignore_index=True)


def common_tracks(
    scores: pd.DataFrame,
    dataset: str,
    metric: str,
    *,
    ranked: Collection[str],
    leaks: Leaks = (),
) -> pd.DataFrame:
    """Return the defined scores of one metric with what the comparison needs to know of them.

    Returns
    -------
    DataFrame
        The rows of `scores` that have a value, and the columns ``seen`` (the separator was trained
        on the track) and ``common`` (all ranked separators that give the stem can be compared on
        the track). Where no ranked separator gives the stem, all that do are asked for.
    """
    chosen = (scores["dataset"] == dataset) & (scores["metric"] == metric)
    rows = scores[chosen & (scores["status"] == "ok") & scores["value"].notna()]
    heard = {(separator, track) for separator, where, track in leaks if where == dataset}
    pairs = zip(rows["separator"], rows["track"], strict=True)
    rows = rows.assign(seen=[pair in heard for pair in pairs])
    asked = rows[rows["separator"].isin(list(ranked)) & ~rows["seen"]]
    answered = _key(rows, _STEM).isin(_key(asked, _STEM))
    asked = pd.concat([asked, rows[~answered]])
    wanted = asked.groupby(_STEM, observed=True)["separator"].nunique().rename("wanted")
    have = asked.groupby([*_STEM, "track"], observed=True)["separator"].nunique().rename("have")
    rows = rows.join(wanted, on=_STEM).join(have, on=[*_STEM, "track"])
    return rows.assign(common=rows["wanted"] == rows["have"]).drop(columns=["wanted", "have"])


def leaderboard(
    scores: pd.DataFrame,
    dataset: str,
    metric: str,
    *,
    ranked: Collection[str],
    leaks: Leaks = (),
    higher_is_better: bool = True,
    common: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Summarise one metric on one dataset, per input, stem and separator.

    Parameters
    ----------
    common
        As from `common_tracks`, where that is known already.

    Returns
    -------
    DataFrame
        Columns input, stem, separator, n (tracks behind the summary), common (tracks compared on),
        left_out (the other tracks of the dataset), mean, median, sd (of the sample, NaN below
        two tracks), q1, q3, rank and rank_median (equal values share the better place; NaN where
        not ranked), leaked (the summary holds tracks seen in training).
    """
    n_tracks = scores.loc[scores["dataset"] == dataset, "track"].nunique()
    rows = common
    if rows is None:
        rows = common_tracks(scores, dataset, metric, ranked=ranked, leaks=leaks)
    on_common = rows[rows["common"]]
    board = rows[COMPETITOR].drop_duplicates().sort_values(COMPETITOR, ignore_index=True)
    board = board.join(summarise(on_common, COMPETITOR), on=COMPETITOR)
    n_common = on_common.groupby(_STEM, observed=True)["track"].nunique().rename("common")
    board = board.join(n_common, on=_STEM).fillna({"n": 0, "common": 0, "leaked": False})
    board = board.astype({"n": int, "common": int, "leaked": bool})
    board["left_out"] = n_tracks - board["common"]
    placed = board[board["separator"].isin(list(ranked)) & ~board["leaked"]]
    for name, by in (("rank", "mean"), ("rank_median", "median")):
        best_first = placed.groupby(_STEM, observed=True)[by]
        board[name] = best_first.rank(method="min", ascending=not higher_is_better)
    return board


def genre_means(common: pd.DataFrame) -> pd.DataFrame:
    """Return `summarise` per input, stem, separator and genre, on the common tracks."""
    rows = common[common["common"]].assign(genre=lambda frame: frame["genre"].map(genre_name))
    return summarise(rows, [*COMPETITOR, "genre"]).reset_index()


def left_out(
    scores: pd.DataFrame, dataset: str, metric: str, rows: pd.DataFrame, ranked: Collection[str]
) -> pd.DataFrame:
    """Say why tracks are not common ones: columns input, stem, track, reason, separators.

    Parameters
    ----------
    rows
        As from `common_tracks`.

    The reason is ``absent or silent reference`` (nobody has a value), ``failed`` (for all), ``no
    score`` or ``seen in training``; the latter two with a list of the ranked separators they hold
    for.
    """
    here = scores[scores["dataset"] == dataset]
    silent = (here["status"] == "undefined") & (here["metric"] == metric)
    failed = set(here.loc[here["status"] == "failed", "track"]) - set(here.loc[silent, "track"])
    every = set(here["track"])
    out = []
    for (source, stem), block in rows.groupby(_STEM, sort=True, observed=True):
        common = set(block.loc[block["common"], "track"])
        clean = block[block["separator"].isin(list(ranked)) & ~block["seen"]]
        asked = sorted(clean["separator"].unique())
        scored = set(zip(block["separator"], block["track"], strict=True))
        usable = set(zip(clean["separator"], clean["track"], strict=True))
        present = set(block["track"])
        for track in sorted(every - common):
            if track in present:
                reason, names = _reason(asked, track, scored, usable)
            else:
                reason, names = "failed" if track in failed else "absent or silent reference", []
            out.append((source, stem, track, reason, names))
    return pd.DataFrame(out, columns=["input", "stem", "track", "reason", "separators"])


def summarise(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return n, mean, median, sd, q1, q3 and leaked of the values in each group.

    Examples
    --------
    >>> rows = pd.DataFrame({"stem": ["bass", "bass"], "value": [1.0, 3.0], "seen": [False, True]})
    >>> summarise(rows, ["stem"]).reset_index()[["stem", "n", "mean", "leaked"]].values.tolist()
    [['bass', 2, 2.0, True]]
    """
    with np.errstate(invalid="ignore"):  # infinity minus infinity: NaN, and shown as none
        groups = rows.groupby(list(by), sort=True, observed=True)
        value = groups["value"]
        columns = {
            "n": value.size(),
            "mean": value.mean(),
            "median": value.median(),
            "sd": value.std(),
            "q1": value.quantile(0.25),
            "q3": value.quantile(0.75),
            "leaked": groups["seen"].any(),
        }
        return pd.DataFrame(columns)


def hierarchy(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare separators of a stem fed with the true one and with another separator's.

    Parameters
    ----------
    scores
        As a run has them.

    Returns
    -------
    DataFrame
        Columns dataset, input (of the cascade), stem, separator, n (tracks that have both),
        reference, cascade (means of the harmonic mean of SNR and SDR on these, in dB) and
        difference (cascade minus reference).
    """
    below = add_harmonic(scores[scores["input"] != "mixture"])
    rows = below[(below["metric"] == HARMONIC) & below["value"].notna() & (below["status"] == "ok")]
    keys = ["dataset", "split", "track", "separator", "stem"]
    own = rows[rows["input"].str.startswith("reference:")].rename(columns={"value": "reference"})
    fed = rows[rows["input"].str.startswith("cascade:")].rename(columns={"value": "cascade"})
    both = fed.merge(own[[*keys, "reference"]], on=keys)
    groups = both.groupby(["dataset", "input", "stem", "separator"])
    means = groups[["reference", "cascade"]].mean()
    with np.errstate(invalid="ignore"):  # infinity minus infinity: NaN, and shown as none
        means["difference"] = means["cascade"] - means["reference"]
    return means.assign(n=groups.size()).reset_index()


def genre_name(genre: object) -> str:
    """Return the genre as it is grouped by; a missing one is called ``unknown``.

    Examples
    --------
    >>> genre_name(" Rock"), genre_name(None)
    ('Rock', 'unknown')
    """
    return (genre.strip() if isinstance(genre, str) else "") or NO_GENRE


def selection_counts(selection: pd.DataFrame, by: Collection[str] = ()) -> pd.DataFrame:
    """Count how often each separator was chosen, per dataset, stem and kind, and `by` more."""
    keys = ["dataset", "stem", *by, "separator", "kind"]
    if selection.empty:
        return pd.DataFrame(columns=[*keys[:-1], "oracle", "deployable"])
    counts = selection.groupby(keys, sort=True, observed=True).size().unstack("kind", fill_value=0)
    return counts.reindex(columns=["oracle", "deployable"], fill_value=0).reset_index()


def costs(table: pd.DataFrame) -> pd.DataFrame:
    """Return per dataset, input and separator the median cost of a track; memory at its peak."""
    ok = table[(table["status"] == "ok") & table["value"].notna()]
    keys = ["dataset", "input", "separator", "metric"]
    wide = ok.groupby(keys, sort=True, observed=True)["value"].agg(["median", "max"]).reset_index()
    wide["value"] = wide["median"].where(wide["metric"] != "peak_memory", wide["max"])
    return wide[[*keys, "value"]]


def failures(scores: pd.DataFrame) -> pd.DataFrame:
    """Return failed work, alike reasons together: dataset, separator, note, n, tracks."""
    failed = scores[scores["status"] == "failed"]
    keys = ["dataset", "input", "separator", "note"]
    grouped = failed.groupby(keys, sort=True, observed=True)["track"]
    return grouped.agg(n="nunique", tracks=lambda t: sorted(set(t))).reset_index()


def _overall(block: pd.DataFrame, stems: list[str], name: str) -> pd.DataFrame:
    """Average the stems of one level within each track of one (dataset, input, metric)."""
    keys = ["run", "split", "track", "artist", "genre", "separator"]
    wide = block[block["stem"].isin(stems)].pivot(index=keys, columns="stem", values="value")
    value = wide.reindex(columns=stems).mean(axis=1, skipna=False).dropna().rename("value")
    return value.reset_index().assign(stem=OVERALL if name == "main" else f"{OVERALL}:{name}")


def _key(rows: pd.DataFrame, columns: list[str]) -> pd.MultiIndex:
    """Return the columns of each row as one key."""
    return pd.MultiIndex.from_frame(rows[columns])


def _reason(
    asked: list[str], track: str, scored: set[tuple[str, str]], usable: set[tuple[str, str]]
) -> tuple[str, list[str]]:
    """Say why, and because of which ranked separators, a track cannot be compared on."""
    if missing := [name for name in asked if (name, track) not in scored]:
        return "no score", missing
    return "seen in training", [name for name in asked if (name, track) not in usable]
