"""The user's own songs: one folder per song, one file per stem, as the MSS-Training tool has it.

Stem names of other tools are understood too (`taxonomy.canonical`), and so are the usual names of
a mixture and of a copy, also with the song's name in front. A file under any other name is compared
with the others: if it is the sum of some of them, it is not a stem. A missing parent is the sum of
its children. ``other`` beside ``guitar`` or ``piano`` is the rest of six stems, `other_rest`; our
`other` is then the sum of the three. If no song has a part of the accompaniment but ``other``, that
is everything but the vocals: the `accompaniment`. ``cymbals`` without ``hihat`` include the hi-hat:
they are `hihat_cymbals`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.core import audio, taxonomy
from harness.core.errors import HarnessError
from harness.datasets.mixture_check import outermost, summands
from harness.datasets.musdb_songs import song_facts, split_name
from harness.datasets.scan import AUDIO, FILE, Scan, collect, unions
from harness.datasets.tracks import Dataset, Source, Sources, Track

SUFFIXES = (".wav", ".flac", ".mp3")  # if there are several, the first counts
# if there are several, the first counts; mastered ones are the sum of the stems only roughly
MIXTURES = (
    "mixture", "mix", "full_mix", "fullmix", "mixdown", "mix_down", "main_mix", "stereo_mix",
    "final_mix", "mix_final", "rough_mix", "full_song", "full_track", "full", "song", "2mix",
    "2_mix", "premaster", "pre_master", "master", "mastered", "stereo_master", "final_master",
)  # fmt: skip
# what systems and people add to the name of a copy: "vocals (1)", "Copy of vocals", "vocals_backup"
_COPY = re.compile(
    r"^copy of |( - |[ _-])(copy|kopie|copie)( ?\(?\d+\)?)?$| ?\(\d+\)$"
    r"|[ _.-](backup|bak|old|orig)$",
    re.IGNORECASE,
)
# children first
PARENTS = ("lead", "vocals", "hihat_cymbals", "drums", "other_rest", "other", "accompaniment")
Stems = dict[str, Sources]


def folder(root: Path, *, name: str = "folder") -> Dataset:
    """Read ``<root>/<track>/{mixture,<stem>,…}.{wav,flac,mp3}``.

    Without a mixture file the mixture is the sum of the stems. The sample rate that most tracks
    have is the dataset's (of equals the first one); tracks with another one are left out. All
    tracks are in the split ``test``. The artist is the part of the folder's name before " - ".
    """
    scan = Scan(root)
    found = {path: _read(scan, path) for path in scan.folders(root)}
    if _are_halves(found.values()):
        scan.note(root, "other is all but the vocals in every song; it is the accompaniment")
        found = {
            path: {"accompaniment" if stem == "other" else stem: of for stem, of in stems.items()}
            for path, stems in found.items()
        }
    rates = {path: rate for path, stems in found.items() if (rate := _rate(scan, path, stems))}
    many = Counter(rates.values())
    sample_rate = max(many, key=lambda rate: many[rate], default=0)
    tracks = [_track(p, found[p], name) for p, rate in rates.items() if rate == sample_rate]
    for path, rate in rates.items():
        if rate != sample_rate:
            scan.leave_out(path, f"sample rate is {rate} Hz, not {sample_rate} Hz")
    for path in scan.files(root, AUDIO):
        scan.leave_out(path, "is not in the folder of a song", FILE)
    return collect(scan, name, tracks, version="1.0", sample_rate=sample_rate)


def _are_halves(songs: Iterable[Stems]) -> bool:
    """Whether songs have only two stems, one of them called ``other``, which is all the rest."""
    stems = {stem for song in songs for stem in song} - {"mixture"}
    return {"other", "vocals"} <= stems <= {"vocals", "lead", "background", "other"}


def _read(scan: Scan, path: Path) -> Stems:
    """Return the stems of one folder, with `mixture` if it is there."""
    groups: dict[str, list[Path]] = {}
    for file in scan.files(path, AUDIO):
        stem = _stem(file.stem, path.name)
        if file.suffix.lower() not in SUFFIXES:
            kinds = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
            scan.leave_out(file, f"is not a {kinds} file", FILE)
        elif re.fullmatch(r"[a-z0-9_]+", stem):
            groups.setdefault(stem, []).append(file)
        else:
            scan.leave_out(file, "its name is not usable as a stem name", FILE)
    stems = {stem: _one_of(scan, stem, files, path.name) for stem, files in groups.items()}
    stems = _without_sums(scan, stems)
    strange = _unknown(stems)
    if strange and "mixture" not in stems and len(strange) < len(stems):
        names = ", ".join(source.path.name for stem in strange for source in stems[stem])
        scan.note(path, f"has no mixture; it is the sum of all stems, also of {names}")
    if "other" in stems and stems.keys() & {"guitar", "piano"}:
        stems.setdefault("other_rest", stems.pop("other"))
    if "cymbals" in stems and not stems.keys() & {"hihat", "hihat_cymbals"}:
        stems["hihat_cymbals"] = stems.pop("cymbals")
    return stems


def _stem(name: str, song: str) -> str:
    """Return our name of the stem in a file: a known stem, `mixture`, or the file's own name."""
    own = taxonomy.canonical(name)
    for plain in (name, _COPY.sub("", name)):
        words = taxonomy.canonical(plain)
        for part in (words, _after_song(words, song)):
            stem = taxonomy.canonical(part)
            if stem in taxonomy.STEMS:
                return stem
            if part in ("", *MIXTURES):
                return "mixture"
    return own


def _after_song(words: str, song: str) -> str:
    """Drop the name of the song, or its title, from the start of a file's name."""
    for start in (song, split_name(song)[1]):
        begin = taxonomy.canonical(start)
        if begin and words == begin:
            return ""
        if begin and words.startswith(f"{begin}_"):
            return words[len(begin) + 1 :]
    return words


def _one_of(scan: Scan, stem: str, files: list[Path], song: str) -> Sources:
    """Choose among files for one stem; of parts of the cymbals, all are taken."""
    by_name: dict[str, Path] = {}
    for file in sorted(files, key=lambda file: SUFFIXES.index(file.suffix.lower())):
        by_name.setdefault(file.stem.lower(), file)

    def place(name: str) -> tuple[bool, bool, int, str]:
        words = _after_song(taxonomy.canonical(name), song)
        rank = MIXTURES.index(words) if stem == "mixture" and words in MIXTURES else len(MIXTURES)
        return name != stem, _is_copy(name), rank, name

    names = sorted(by_name, key=place)
    if stem == "cymbals" and stem not in by_name:
        chosen = sorted(by_name[name] for name in names if not _is_copy(name) or names[0] == name)
    else:
        chosen = [by_name[names[0]]]
    for file in sorted(set(files) - set(chosen)):
        scan.note(file, f"left out, {chosen[0].name} is used for {stem}")
    for file in chosen:
        named = taxonomy.canonical(file.stem) == stem
        if not named and (stem == "mixture" or _is_copy(file.stem)):
            scan.note(file, f"is used as the {stem}")
    return tuple(Source(file) for file in chosen)


def _is_copy(name: str) -> bool:
    """Whether a file's name says that it is a copy."""
    return bool(_COPY.search(name))


def _unknown(stems: Stems) -> list[str]:
    """Return the stems with a name that is neither a stem's nor the mixture's."""
    return [stem for stem in stems if stem not in ("mixture", *taxonomy.STEMS)]


def _without_sums(scan: Scan, stems: Stems) -> Stems:
    """Leave out files of unknown name that are the mixture, a stem, or a sum of stems again."""
    left = dict(stems)
    for stem in _unknown(stems):
        others = {name: sources for name, sources in left.items() if name != stem}
        named = {name: others[name] for name in others if name in taxonomy.STEMS}
        bases = [{"mixture": others["mixture"]}] if "mixture" in others else []
        others.pop("mixture", None)
        bases += [{s: every[s] for s in outermost(every)} for every in (named, others)]
        bases.append({s: named[s] for s in named if not named.keys() & {*taxonomy.TREE.get(s, ())}})
        try:
            found, basis = next(
                ((sums, basis) for basis in bases if (sums := summands(left[stem], basis))),
                ((), {}),
            )
        except HarnessError:
            continue  # `_rate` says what is wrong
        if not found:
            continue
        file, again = left[stem][0].path, left.pop(stem)
        same = f"is the sum of {', '.join(found)}" if len(found) > 1 else f"is the {found[0]} again"
        if "mixture" not in left and len(found) > 1 and set(found) == set(basis):
            left["mixture"] = again
            scan.note(file, f"{same}; used as the mixture")
        else:
            scan.note(file, f"{same}; left out")
    return _without_parts(scan, left)


def _without_parts(scan: Scan, stems: Stems) -> Stems:
    """Leave out files of unknown name that sum to a stem which is there itself."""
    left = dict(stems)
    for stem in [stem for stem in stems if stem in taxonomy.STEMS]:
        basis = {name: left[name] for name in _unknown(left)}
        try:
            found = summands(left[stem], basis) if len(basis) > 1 else ()
        except HarnessError:
            continue  # as above
        for name in found:
            scan.note(left.pop(name)[0].path, f"is a part of the {stem}; left out")
    return left


def _rate(scan: Scan, path: Path, stems: Stems) -> int:
    """Return the sample rate of all files in Hz; 0, with a note, if the track cannot be used."""
    if not stems.keys() - {"mixture"}:
        scan.leave_out(path, f"has no {' or '.join(SUFFIXES)} file of a stem")
        return 0
    try:
        rates = {audio.sample_rate_of(source.path) for files in stems.values() for source in files}
    except HarnessError as error:
        scan.leave_out(path, str(error))
        return 0
    if len(rates) > 1:
        scan.leave_out(path, f"its files have different sample rates {sorted(rates)} Hz")
        return 0
    return rates.pop()


def _track(path: Path, files: Stems, dataset: str) -> Track:
    """Describe one song."""
    artist, genre, _ = song_facts(path.name)
    stems = {stem: sources for stem, sources in files.items() if stem != "mixture"}
    mixture = files.get("mixture") or _sum(stems, outermost(stems))
    return Track(
        dataset=dataset,
        name=path.name,
        artist=artist,
        split="test",
        mixture=mixture,
        stems=_with_parents(stems),
        genre=genre,
    )


def _with_parents(stems: Stems) -> Stems:
    """Add the parents that the stems sum to."""
    if "other_rest" in stems and "other" not in stems:
        stems = unions(stems, {"other": taxonomy.TREE["other"]})
    for parent in PARENTS:
        below = taxonomy.parts(parent, stems)
        if below:
            stems = {**stems, parent: _sum(stems, below)}
    return stems


def _sum(stems: Stems, names: Sequence[str]) -> Sources:
    """Join the sources of several stems."""
    return tuple(source for name in names for source in stems[name])
