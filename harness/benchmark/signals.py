"""Units of work, and the audio of one track, read once and shared by all of its units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from harness.core import audio, taxonomy
from harness.core.audio import Audio
from harness.core.files import digest
from harness.datasets.tracks import Excerpt, Track, read_sources, track_length
from harness.metrics import METRICS, References, analyse
from harness.registry import Entry


@dataclass(frozen=True)
class Unit:
    """One unit of work: one separator on one track."""

    entry: Entry
    track: Track
    sample_rate: int  # Hz, of the scored signals
    given: tuple[str, ...]  # stems that the separator is asked for, as it names them
    scored: tuple[str, ...]  # stems of the track that `given` can be summed to, in display order
    track_key: str  # depends on the audio of the track and the part of it that is scored
    key: str  # see `unit_key`
    parent: Unit | None = None  # in cascade: the unit whose estimate is this one's input
    listen: bool = False  # whether its estimates are kept for the report
    made_from: str = ""  # a hash of all that its estimates depend on; no metric is among it

    def metric_key(self, metric: str) -> str:
        """Return the key under which its scores by one optional metric are stored."""
        return digest([self.made_from, metric, METRICS[metric].version])

    @property
    def place(self) -> tuple[str, str, str]:
        """Dataset, split and name of the track."""
        return self.track.dataset, self.track.split, self.track.name

    @property
    def fed_by(self) -> str:
        """Where the input came from, see `harness.results.runs.COLUMNS`."""
        if self.entry.input == "mixture":
            return ""
        return self.parent.entry.name if self.parent else taxonomy.REFERENCE

    def in_cascade(self, parent: Unit) -> Unit:
        """Return the unit whose input is the parent's estimate instead of the true stem."""
        return replace(
            self,
            parent=parent,
            key=digest([self.key, parent.key]),
            made_from=digest([self.made_from, parent.made_from]),
        )


@dataclass
class Signals:
    """The audio of one track; all signals have the same shape, (channels, samples)."""

    mixture: Audio
    stems: dict[str, Audio]  # only those that some unit of work needs
    available: tuple[str, ...]  # all stems of the track; they decide how a stem is scored
    sample_rate: int
    separated: dict[tuple[str, str], Audio] = field(default_factory=dict)  # by (parent key, stem)
    device: str = "cpu"  # on which scores are computed
    _analysed: dict[tuple[str, ...], References] = field(default_factory=dict)

    def references(self, stem: str) -> References:
        """Return the references of the level on which `stem` is scored, analyzed once."""
        level = taxonomy.level_of(stem, self.available)
        if level not in self._analysed:
            true = {name: self.stems[name] for name in level}
            self._analysed[level] = analyse(
                true, self.sample_rate, metrics=(), threads=1, device=self.device
            )
        return self._analysed[level]


def read_signals(units: Sequence[Unit], excerpt: Excerpt, device: str = "cpu") -> Signals:
    """Read the mixture of the units' track, and the stems they separate or are scored against."""
    track, rate = units[0].track, units[0].sample_rate
    start, frames = excerpt.window(track_length(track), rate)
    mixture = read_sources(track.mixture, rate, start, frames)
    needed = {unit.entry.input for unit in units if unit.parent is None}
    for unit in units:
        needed.update(unit.given, *(taxonomy.level_of(stem, track.stems) for stem in unit.scored))
    stems = {}
    for stem in sorted(needed & track.stems.keys()):
        signal = read_sources(track.stems[stem], rate, start, frames)
        where = f"{track.name!r}, {stem}"
        stems[stem] = audio.to_channels(signal, mixture.shape[0], where)
    return Signals(mixture, stems, tuple(track.stems), rate, device=device)
