"""Verbs that choose and use what was chosen: select, separate, compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from harness import choice, inventory, pipeline, registry, saving, selection, separating
from harness.cli.options import (
    SOME_FAILED,
    DatasetOption,
    JsonOption,
    RegistryOption,
    ResultsOption,
)
from harness.cli.terminal import errors, print_json, print_table, progress, records
from harness.errors import HarnessError
from harness.results import Run, read_run
from harness.separators import is_learned


def select(
    run_name: Annotated[str, typer.Argument(metavar="RUN")] = "main",
    choose_on: Annotated[
        str | None, typer.Option(metavar="DATASET", help="Choose on this dataset for all others.")
    ] = None,
    budget: Annotated[
        str, typer.Option(help="Show, or save, the best ensemble within: rtf<0.5,memory<4GB.")
    ] = "",
    save: Annotated[
        str, typer.Option(metavar="NAME", help="Keep the choice in your registry, for 'separate'.")
    ] = "",
    how: Annotated[
        str, typer.Option(help=f"What to keep of each stem: {', '.join(selection.WAYS)}.")
    ] = "best",
    consistent: Annotated[
        bool, typer.Option("--consistent", help="Make its stems sum to the mixture.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an ensemble of NAME.")] = False,
    registry_file: RegistryOption = None,
    results_folder: ResultsOption = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Choose the best separator per stem from the scores of a run, and say what that is worth."""
    limits = selection.parse_budget(budget)
    if not save and (how != "best" or consistent or force):
        raise HarnessError(
            "select: --how, --consistent and --force are of what is kept; add --save"
        )
    chosen = pipeline.select_again(results_folder / inventory.check_name(run_name), choose_on)
    if save:
        params, warnings = _to_save(chosen, registry_file, results_folder, choose_on, how, limits)
        if consistent:
            params, told = saving.made_consistent(params)
            warnings = [*warnings, told]
        kind = "blend by band" if how == "bands" else how.replace("_", " ")
        title = f"{kind.capitalize()} of {chosen.name} per stem{f', {budget}' if budget else ''}"
        saved = saving.save(save, params, title=title, path=registry_file, force=force)
        for line in (registry.describe_saved(saved), *warnings):
            errors.print(line, markup=False)
    candidates = selection.candidates_of(*pipeline.may_choose(chosen))
    keys = ["dataset", "input", "stem", "kind", "separator"]
    counts = chosen.selection.groupby(keys).size().rename("tracks").reset_index()
    found = {"counts": counts, "summary": selection.summary(candidates, on=choose_on)}
    found["blends"] = pipeline.worth_of_blends(chosen, results_folder, choose_on)
    if limits:
        costs = selection.costs_of(chosen.costs)
        found["within"] = selection.choose_within(candidates, costs, limits)
    if as_json:
        rows = {name: records(frame) for name, frame in found.items()}
        print_json({**rows, "notes": chosen.record["selection_notes"]})
        return
    words = {selection.HARMONIC: "the harmonic mean of SNR and SDR"}
    by = sorted(words.get(m, m) for m in {*selection.chosen_by(chosen.scores).values()})
    shown = selection.boards(counts, f"chosen by {', '.join(by)}")
    shown += selection.summary_boards(found["summary"], "best mean")
    shown += selection.blend_boards(found["blends"])
    if limits:
        shown += selection.boards(found["within"], f"the best within {budget}")
    for board in shown:
        print_table(*board)
    if choose_on and found["summary"].empty:
        typer.echo(
            f"--choose-on {choose_on}: on no other dataset can it be told what that is worth"
        )
    if limits and found["within"].empty:
        typer.echo(f"nothing is within {budget}; raise the budget")
    if found["summary"]["low"].isna().any():
        typer.echo(f"–: tracks of fewer than {selection.MIN_ARTISTS} artists carry no interval")
    for note in chosen.record["selection_notes"]:
        typer.echo(note)


def _to_save(
    run: Run,
    registry_file: Path | None,
    results: Path,
    on: str | None,
    how: str,
    budget: Mapping[str, float],
) -> tuple[dict[str, Any], list[str]]:
    """Return the `params` of the ensemble that `select --save` keeps, and what to beware of."""
    entries = registry.load(registry_file if registry_file and registry_file.exists() else None)
    if not budget:
        products = pipeline.kept_products(run, results, by_band=how == "bands")
        return saving.params_of(run, entries, on, how=how, kept=products)
    if how != "best":
        raise HarnessError(
            f"--budget with --how {how}: a budget chooses the best of each stem; to combine what "
            "you can afford, run only that: harness run --separator A --separator B --name NAME"
        )
    return saving.params_within(run, entries, budget, on), []


def separate(
    songs: Annotated[
        list[Path], typer.Argument(metavar="SONG…", help="Audio files, or folders with some.")
    ],
    using: Annotated[
        str, typer.Option("--with", metavar="NAME", help="Separator or ensemble; the best here.")
    ] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Gets a folder a song.")] = Path(
        "separated"
    ),
    stems: Annotated[
        str, typer.Option(metavar="STEM,…", help="Only these; also of drums and vocals.")
    ] = "",
    residual: Annotated[
        bool, typer.Option("--residual", help="Write what the stems leave, too.")
    ] = False,
    file_format: Annotated[str, typer.Option("--format", help="wav or flac.")] = "wav",
    bits: Annotated[str, typer.Option(help="32f or 24; of flac 24.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    registry_file: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take your own music apart: SONG becomes OUT/SONG/vocals.wav and so on.

    Stems keep the sample rate, channels, length and loudness of the song.
    """
    wanted = [stem for stem in stems.split(",") if stem.strip()]
    chosen = choice.choose(registry.load(registry_file), using, wanted)
    if not as_json:
        errors.print(chosen.words, markup=False)
    with progress("separating, seconds of music", as_json) as advance:
        outcomes = separating.separate(
            songs,
            out,
            chosen,
            kind=file_format,
            bits=bits,
            residual=residual,
            force=force,
            device=inventory.choose_device(device, learned=is_learned(chosen.entry)),
            progress=advance,
        )
    if as_json:
        print_json([asdict(outcome) for outcome in outcomes])
    else:
        _show_separated(outcomes)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(SOME_FAILED)


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A separator.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    metric: Annotated[
        str, typer.Option(help="Of the table, or harmonic_mean; if not given, what chooses.")
    ] = "",
    dataset: DatasetOption = [],  # noqa: B006
    run_name: Annotated[str, typer.Option("--run", help="Name of the run.")] = "main",
    leaked: Annotated[
        bool, typer.Option("--leaked", help="Count tracks seen in training too.")
    ] = False,
    results_folder: ResultsOption = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Say whether separator A is better than B, on the tracks that both have, and how surely."""
    found = read_run(results_folder / inventory.check_name(run_name))
    rows = found.scores[found.scores["dataset"].isin(dataset)] if dataset else found.scores
    seen = set() if leaked else pipeline.may_choose(found)[2]
    by = {*selection.chosen_by(rows[rows["separator"].isin([a, b])]).values()}
    metric = metric or (by.pop() if len(by) == 1 else selection.HARMONIC)
    table = selection.compare(rows, a, b, metric=metric, leaked=seen)
    if as_json:
        print_json(records(table))
        return
    for board in selection.boards(table, f"A is {a}, B is {b}; {metric}, dB"):
        print_table(*board)
    for line in selection.remarks(table, a, b):
        typer.echo(line)


def _show_separated(outcomes: Sequence[separating.SeparatedSong]) -> None:
    """Print the folder of each song, and what there is to say of it."""
    for outcome in outcomes:
        style = "yellow" if outcome.state == "failed" else None
        for note in outcome.notes:
            said = note if str(outcome.song) in note else f"{outcome.song}: {note}"
            errors.print(said, style=style, markup=False)
        if outcome.state != "failed":
            typer.echo(next(iter(outcome.files.values())).parent)
