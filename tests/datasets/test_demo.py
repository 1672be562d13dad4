"""The demo dataset: exact sums, known special cases, and that it is music and not test tones."""

import json
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import fftconvolve

from harness.core.errors import HarnessError, StorageError
from harness.datasets.demo import composition as score
from harness.datasets.demo import drum_kit as kits
from harness.datasets.demo import rendering
from harness.datasets.demo.band import play_drums
from harness.datasets.demo.genre_styles import GENRES, Genre, Part
from harness.datasets.demo.song_catalog import entry
from harness.datasets.demo.synth import RATE, band, hertz, modes, place, reverberate
from harness.datasets.demo.voice import VOWELS, Syllable, Voice, draw_voice, sing, vowel_envelope
from harness.datasets.tracks import Dataset, read_sources, track_length

SECONDS = 6.0
GENRE = {genre.name: genre for genre in GENRES}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def rendered(root: Path) -> Dataset:
    return rendering.render(root, train=1, test=8, seconds=SECONDS)


def test_all_tracks_asked_for_are_there(rendered: Dataset) -> None:
    names = {track.name for track in rendered.tracks if track.split == "test"}
    assert names == {entry("test", i).name for i in range(8)}
    assert len(rendered.tracks) == 9


def _read(dataset: Dataset, index: int, stem: str) -> np.ndarray:
    name = entry("test", index).name
    track = next(t for t in dataset.tracks if t.split == "test" and t.name == name)
    sources = track.mixture if stem == "mixture" else track.stems[stem]
    return read_sources(sources, dataset.sample_rate)


# --- sums, grid, levels ---------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 2, 7])
def test_every_node_is_the_exact_sum_of_its_children(rendered: Dataset, index: int) -> None:
    def of(stem: str) -> np.ndarray:
        return _read(rendered, index, stem)

    kit = [of(stem) for stem in ("kick", "snare", "toms", "hihat", "cymbals")]
    np.testing.assert_array_equal(of("drums"), kit[4] + kit[3] + kit[2] + kit[1] + kit[0])
    np.testing.assert_array_equal(of("lead"), of("lead_female") + of("lead_male"))
    np.testing.assert_array_equal(of("vocals"), of("background") + of("lead"))
    np.testing.assert_array_equal(of("other"), of("other_rest") + of("piano") + of("guitar"))
    np.testing.assert_array_equal(of("accompaniment"), of("other") + of("bass") + of("drums"))
    np.testing.assert_array_equal(of("mixture"), of("accompaniment") + of("vocals"))


def test_files_hold_exactly_what_was_rendered(rendered: Dataset) -> None:
    track = rendering.render_track("test", 1, seconds=SECONDS)
    for leaf, stem in track.stems.items():
        assert stem.dtype == np.float32
        assert stem.shape == (2, round(SECONDS * RATE))
        np.testing.assert_array_equal(stem * 32768, np.rint(stem * 32768))
        np.testing.assert_array_equal(_read(rendered, 1, leaf), stem)


def test_all_files_are_equally_long(rendered: Dataset) -> None:
    assert {track_length(track) for track in rendered.tracks} == {round(SECONDS * RATE)}


@pytest.mark.parametrize("index", range(8))
def test_mixtures_are_as_loud_as_records(rendered: Dataset, index: int) -> None:
    mixture = _read(rendered, index, "mixture")
    peak = 20 * np.log10(np.max(np.abs(mixture)))
    rms = 10 * np.log10(np.mean(mixture**2))
    assert -2.5 < peak < -0.9
    assert -20.0 < rms < -13.0


@pytest.mark.parametrize("index", [0, 1, 2, 4, 5, 7])
def test_four_stems_are_neither_trivial_nor_hopeless(rendered: Dataset, index: int) -> None:
    mixture = _read(rendered, index, "mixture")
    for stem in ("vocals", "drums", "bass", "other"):
        reference = _read(rendered, index, stem)
        snr = 10 * np.log10(np.sum(reference**2) / np.sum((mixture - reference) ** 2))
        assert -13.0 < snr < 2.0, stem


# --- determinism ----------------------------------------------------------------------------


def test_same_arguments_give_same_bytes() -> None:
    first = rendering.render_track("train", 3, seconds=5.0, seed=7)
    again = rendering.render_track("train", 3, seconds=5.0, seed=7)
    for leaf in first.stems:
        assert first.stems[leaf].tobytes() == again.stems[leaf].tobytes()


def test_other_arguments_give_other_music(rendered: Dataset) -> None:
    bass = [_read(rendered, index, "bass").tobytes() for index in range(8)]
    assert len(set(bass)) == 8
    other_seed = rendering.render_track("test", 0, seconds=SECONDS, seed=1)
    assert other_seed.name == entry("test", 0).name
    assert other_seed.stems["bass"].tobytes() not in bass


# --- special cases --------------------------------------------------------------------------


def test_silent_stems_are_exactly_zero(rendered: Dataset) -> None:
    assert not np.any(_read(rendered, 3, "vocals"))
    assert not np.any(_read(rendered, 6, "drums"))
    assert np.any(_read(rendered, 3, "drums"))
    assert np.any(_read(rendered, 6, "vocals"))


def test_a_song_has_one_lead_and_a_duet_two(rendered: Dataset) -> None:
    def leads(index: int) -> list[bool]:
        stems = ("lead_male", "lead_female")
        return [bool(np.any(_read(rendered, index, stem))) for stem in stems]

    assert leads(0) == [True, False]
    assert leads(1) == [False, True]
    assert leads(7) == [True, True]


def _alike(x: np.ndarray, y: np.ndarray) -> float:
    """Largest normalised correlation of x with y up to 200 samples earlier, 300 Hz to 4 kHz."""
    x, y = (band(s.mean(axis=0), 300.0, 4000.0, order=2) for s in (x, y))
    lags = fftconvolve(x, y[::-1])[len(y) - 1 : len(y) + 200]
    return float(np.max(np.abs(lags)) / (np.linalg.norm(x) * np.linalg.norm(y)))


def test_bleed_is_there_where_it_is_marked(rendered: Dataset) -> None:
    marked = {track.name: track.bleed for track in rendered.tracks if track.split == "test"}
    assert marked[entry("test", 2).name] == {"kick", "snare", "toms"}
    assert marked[entry("test", 5).name] == {"lead", "lead_male", "background"}
    assert sum(map(bool, marked.values())) == 2
    for bled, clean, into, heard in (
        (2, 4, "kick", "snare"),
        (5, 4, "background", "lead_male"),
        (5, 4, "lead_male", "background"),
    ):
        there, absent = (
            _alike(*(_read(rendered, i, s) for s in (into, heard))) for i in (bled, clean)
        )
        assert there > 0.1 > 0.05 > absent


# --- names, artists, genres -----------------------------------------------------------------


def test_no_artist_is_in_both_splits_and_names_are_unique() -> None:
    entries = {split: [entry(split, i) for i in range(600)] for split in ("train", "test")}
    artists = {split: {e.artist for e in those} for split, those in entries.items()}
    assert not artists["train"] & artists["test"]
    for those in entries.values():
        assert len({e.name for e in those}) == 600
        per_artist = [
            sum(e.artist == artist for e in those) for artist in {e.artist for e in those}
        ]
        assert set(per_artist) == {2, 3}


def test_the_first_eight_tests_have_every_case_and_variety() -> None:
    first = [entry("test", i) for i in range(8)]
    cases = {e.case for e in first}
    assert cases == {"", "drum bleed", "vocal bleed", "instrumental", "no drums", "duet"}
    assert len({e.artist for e in first}) == 5
    assert len({e.genre.name for e in first}) == 5


def test_all_genres_occur_in_both_splits() -> None:
    for split in ("train", "test"):
        assert {entry(split, i).genre.name for i in range(60)} == GENRE.keys()


@pytest.mark.parametrize("genre", GENRES, ids=lambda genre: genre.name)
def test_genre_tables_are_well_formed(genre: Genre) -> None:
    parts = [genre.bass, genre.guitar, genre.piano, genre.keys]
    lines = [*genre.verse.values(), *genre.chorus.values()]
    lines += [
        line for part in parts if isinstance(part, Part) for line in (part.verse, part.chorus)
    ]
    assert {len(line) for line in lines} == {16}
    assert set("".join(lines)) <= set("xo.-rtfoa")
    assert {*genre.verse, *genre.chorus} <= kits.LEAF_OF.keys()
    for progression in (*genre.major, *genre.minor):
        for word in progression.replace("/", " ").split():
            score.parse_chord(word, 0)


# --- music ----------------------------------------------------------------------------------


def test_melody_and_bass_follow_the_harmony(rng: np.random.Generator) -> None:
    song = score.compose(rng, GENRE["pop"], 30.0, 1.0)
    sung = [s for phrase in score.melody(song, 60, rng) for s in phrase.syllables]
    allowed = {pc for chord in song.chords for pc in chord.tones()} | {*song.scale}
    assert len(sung) > 20
    assert {round(s.pitch) % 12 for s in sung} <= allowed
    assert all(a.start + a.duration <= b.start + 1e-9 for a, b in pairwise(sung))
    roots = [n for n in score.bass(song, song.genre.bass, rng) if n.velocity > 0]
    for chord in song.chords[4:8]:
        start = song.time(chord.first)
        first = min(roots, key=lambda note: abs(note.start - start))
        assert first.pitch % 12 == chord.root


def test_form_has_verse_and_chorus_and_fills_the_time(rng: np.random.Generator) -> None:
    for seconds in (5.0, 12.0, 30.0, 200.0):
        song = score.compose(rng, GENRE["rock"], seconds, 1.0)
        assert song.time(song.n_bars * score.STEPS) >= seconds
        kinds = {section.kind for section in song.sections}
        assert "chorus" in kinds
        assert seconds < 12.0 or "verse" in kinds


def test_kicks_sound_where_the_pattern_has_them(rng: np.random.Generator) -> None:
    song = score.compose(rng, GENRE["electronic"], 12.0, 0.0)
    kit = kits.render_kit(kits.draw_tone(rng, True, 1.0), rng)
    kick = play_drums(score.drums(song, rng), kit, 12 * RATE)["kick"][0]
    beaters = band(kick, 1000.0, 6000.0, order=2)
    power = np.add.reduceat(beaters**2, np.arange(0, len(kick), RATE // 200))
    beats = [song.time(step) for step in range(4 * 16, 5 * 16, 4)]  # four to the floor, bar 5
    for beat in beats:
        frame = round(beat * 200)
        before, after = power[frame - 6 : frame - 2].sum(), power[frame - 1 : frame + 5].sum()
        assert after > 20 * before
    assert np.diff(beats) == pytest.approx(60.0 / song.tempo)


@pytest.mark.parametrize("vowel", VOWELS)
def test_vowel_responses_peak_at_their_formants(vowel: str) -> None:
    response = vowel_envelope(vowel, 1.0)
    frequencies = np.fft.rfftfreq(1024, 1 / RATE)
    peaks = [
        frequencies[i]
        for i in range(1, 500)
        if response[i] > response[i - 1] and response[i] >= response[i + 1]
    ]
    for formant in VOWELS[vowel][1:]:
        assert min(abs(np.array(peaks) - formant)) < 0.12 * formant


@pytest.fixture(scope="module")
def singer() -> Voice:
    return draw_voice(np.random.default_rng(1), False, 0.0)


def _sung(singer: Voice, vowel: str, pitch: float) -> np.ndarray:
    note = Syllable(0.2, 1.5, pitch, 0.9, vowel, "", True)
    return sing([note], singer, 2 * RATE, np.random.default_rng(2))


def _energy(x: np.ndarray, low: float, high: float) -> float:
    power = np.abs(np.fft.rfft(x)) ** 2
    f = np.fft.rfftfreq(len(x), 1 / RATE)
    return float(power[(f > low) & (f < high)].sum())


def test_sung_vowels_have_their_second_formant(singer: Voice) -> None:
    for vowel, stronger, weaker in (("a", 1090, 2290), ("i", 2290, 1090)):
        sound = _sung(singer, vowel, 45)
        high, low = (_energy(sound, f * 0.88, f * 1.12) for f in (stronger, weaker))
        assert high > 3 * low


def test_a_voice_sings_the_note_and_is_silent_after(singer: Voice) -> None:
    sound = _sung(singer, "a", 57)
    middle = sound[round(0.6 * RATE) : round(1.2 * RATE)]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 18))
    fundamental = np.argmax(spectrum[: round(330 / RATE * (1 << 18))]) * RATE / (1 << 18)
    assert fundamental == pytest.approx(220.0, rel=0.02)
    assert not np.any(sound[round(1.9 * RATE) :])


# --- raw material ---------------------------------------------------------------------------


def test_modes_are_damped_sinusoids() -> None:
    n = 3000
    t = np.arange(n) / RATE
    direct = 0.7 * np.exp(-t / 0.05) * np.cos(2 * np.pi * 440 * t + 0.3)
    direct += 0.2 * np.exp(-t / 0.2) * np.cos(2 * np.pi * 1234.5 * t)
    bank = modes([440.0, 1234.5, 21000.0], [0.7, 0.2, 9.0], [0.05, 0.2, 1.0], n, [0.3, 0.0, 0.0])
    np.testing.assert_allclose(bank, direct, atol=1e-5)


def test_reverberate_is_convolution(rng: np.random.Generator) -> None:
    dry = rng.standard_normal((2, 200_000)).astype(np.float32)
    response = rng.standard_normal((2, 5000)).astype(np.float32)
    direct = fftconvolve(dry.mean(axis=0, keepdims=True), response, axes=1)[:, :200_000]
    np.testing.assert_allclose(reverberate(dry, response), direct, atol=1e-3)


def test_place_cuts_what_sticks_out() -> None:
    out = np.zeros((2, 10), np.float32)
    place(out, np.ones(5, np.float32), 8 / RATE, (1.0, 0.5))
    place(out, np.ones(5, np.float32), -3 / RATE, (1.0, 0.5))
    place(out, np.ones(5, np.float32), 20 / RATE, (1.0, 0.5))
    np.testing.assert_array_equal(out[0], [1, 1, 0, 0, 0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(out[1], out[0] / 2)


def test_pitches_are_equal_temperament() -> None:
    assert hertz(69) == 440.0
    assert hertz(60) == pytest.approx(261.6256, abs=1e-4)


# --- on disk --------------------------------------------------------------------------------


def test_a_reader_finds_what_was_rendered(root: Path, rendered: Dataset) -> None:
    found = rendering.demo(root)
    assert found == rendered
    assert found.version == f"{rendering.VERSION}-seed0-{SECONDS}s"
    assert [(t.split, t.name) for t in found.tracks] == sorted(
        (t.split, t.name) for t in found.tracks
    )
    track = next(t for t in found.tracks if t.name == entry("test", 3).name)
    assert (track.artist, track.genre) == (entry("test", 3).artist, "rap")


def test_rendering_fewer_returns_fewer_and_does_nothing(root: Path, rendered: Dataset) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.wav")}
    calls: list[tuple[int, int]] = []
    fewer = rendering.render(
        root, train=0, test=2, seconds=SECONDS, progress=lambda i, n: calls.append((i, n))
    )
    assert {t.name for t in fewer.tracks} == {entry("test", i).name for i in (0, 1)}
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.wav")} == before


def test_a_killed_render_is_continued(tmp_path: Path, root: Path, rendered: Dataset) -> None:
    code = (
        "from pathlib import Path; from harness.datasets.demo.rendering import render; "
        f"render(Path({str(tmp_path)!r}), train=0, test=8, seconds={SECONDS})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("test/*/track.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    complete = list(tmp_path.glob("test/[!.]*/track.json"))
    assert 1 <= len(complete) < 8
    junk = tmp_path / "test" / ".5.part"
    junk.mkdir(exist_ok=True)
    (junk / "kick.wav").write_bytes(b"half")
    kept = complete[0].stat().st_mtime_ns
    calls: list[tuple[int, int]] = []
    again = rendering.render(
        tmp_path, train=0, test=3, seconds=SECONDS, progress=lambda i, n: calls.append((i, n))
    )
    assert complete[0].stat().st_mtime_ns == kept
    assert calls[-1:] in ([(3, 3)], [])
    assert not list(tmp_path.glob("test/.*.part"))
    for track in again.tracks:
        for leaf in ("kick", "bass", "background"):
            written = track.stems[leaf][0].path
            name = written.relative_to(tmp_path)
            reference = root / name
            assert written.read_bytes() == reference.read_bytes()


def test_two_processes_render_what_one_does(tmp_path: Path, rendered: Dataset, root: Path) -> None:
    rendering.render(tmp_path, train=0, test=2, seconds=SECONDS, jobs=2)
    for path in tmp_path.glob("test/*/*.wav"):
        assert path.read_bytes() == (root / path.relative_to(tmp_path)).read_bytes()


def test_another_version_is_refused(tmp_path: Path) -> None:
    about = {"version": "0", "seed": 0, "seconds": 6.0}
    (tmp_path / "demo.json").write_text(json.dumps(about))
    with pytest.raises(HarnessError, match=r"contains demo version '0'.*; delete"):
        rendering.demo(tmp_path)
    with pytest.raises(HarnessError, match="choose another folder"):
        rendering.render(tmp_path, train=0, test=1, seconds=6.0)


def test_a_folder_of_other_music_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine" / "My song").mkdir(parents=True)
    for root in (tmp_path / "mine", tmp_path / "mine" / "My song" / "x"):
        if root.name == "x":
            root.write_text("a file")
        with pytest.raises(HarnessError, match=r"is not a folder of demo music|cannot be written"):
            rendering.render(root, train=0, test=1, seconds=SECONDS)
    assert sorted(path.name for path in (tmp_path / "mine").rglob("*")) == ["My song", "x"]


def test_a_cache_that_cannot_be_written_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be written .*HARNESS_CACHE"):
        rendering.render(tmp_path / "file" / "demo", train=0, test=1, seconds=SECONDS)


def test_another_length_or_seed_is_refused(root: Path, rendered: Dataset) -> None:
    with pytest.raises(HarnessError, match="contains a demo dataset rendered with"):
        rendering.render(root, train=0, test=1, seconds=SECONDS + 1)
    with pytest.raises(HarnessError, match="contains a demo dataset rendered with"):
        rendering.render(root, train=0, test=1, seconds=SECONDS, seed=1)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_damaged_description_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "demo.json").write_text(text)
    with pytest.raises(HarnessError, match=r"demo\.json"):
        rendering.demo(tmp_path)


def test_no_description_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="render the demo dataset first"):
        rendering.demo(tmp_path)


def test_a_track_that_lacks_a_file_is_left_out_and_noted(
    tmp_path: Path, root: Path, rendered: Dataset
) -> None:
    name = entry("test", 0).name
    shutil.copytree(root / "test" / name, tmp_path / "test" / name)
    shutil.copytree(
        root / "test" / entry("test", 1).name, tmp_path / "test" / entry("test", 1).name
    )
    shutil.copy(root / "demo.json", tmp_path)
    (tmp_path / "test" / entry("test", 0).name / "snare.wav").unlink()
    found = rendering.demo(tmp_path)
    assert [t.name for t in found.tracks] == [entry("test", 1).name]
    assert "has no snare.wav" in found.problems[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("valid", 0, 6.0), "no split 'valid'; choose one of train, test"),
        (("test", -1, 6.0), "count from 0"),
        (("test", 0, 4.9), "too short"),
    ],
)
def test_impossible_tracks_are_errors(arguments: tuple[str, int, float], message: str) -> None:
    split, index, seconds = arguments
    with pytest.raises(HarnessError, match=message):
        rendering.render_track(split, index, seconds=seconds)


def test_chords_are_spread_upwards() -> None:
    root, intervals = score.parse_chord("9m", 0)
    assert (root, intervals) == (9, (0, 3, 7))
    assert score.voicing(score.Chord(0, 16, 0, (0, 4, 7)), 60, 4) == [60, 64, 67, 72]
    assert score.nearest(61, (0, 4, 7)) == 60
