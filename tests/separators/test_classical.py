"""Separators without training, on signals whose parts are known, and against librosa."""

import tracemalloc
import warnings

import numpy as np
import pytest

from harness import registry
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.separators import classical, is_learned, load, progress, repetition, spectral
from harness.separators.anchors import Mixture
from harness.separators.nmf import Nmf, factorise
from harness.separators.protocol import Separator

RATE = 16000
MIB = 2**20
TWO = (classical.Hpss, classical.Repet, classical.RepetSim)
FOUR = (classical.RepetSim4, Nmf)
ALL = (*TWO, *FOUR, Mixture)
ENTRIES = registry.load(None)
UNTRAINED = [
    name
    for name, entry in ENTRIES.items()
    if entry.role == "separator" and not entry.weights and not is_learned(entry)
]


def snr(reference, estimate):
    error = np.sum((reference.astype(float) - estimate) ** 2)
    return 10 * np.log10(np.sum(reference.astype(float) ** 2) / error)


def build(family, **params):
    return family(sample_rate=RATE, **params)


def music(rng, seconds=6.0) -> Audio:
    """Stereo: a repeating drum beat and bass, and a gliding voice that never repeats."""
    n = int(RATE * seconds)
    time = np.arange(n) / RATE
    beat = rng.standard_normal(RATE // 2) * np.exp(-np.arange(RATE // 2) / 400)
    drums = np.tile(beat, n // len(beat) + 1)[:n]
    bass = np.sin(2 * np.pi * 80 * time)
    voice = np.sin(2 * np.pi * (400 * time + 60 * time**2 + 3 * np.sin(9 * time)))
    parts = np.stack([drums, bass, voice]).astype(np.float32)
    return 0.1 * np.float32([[1, 1, 1], [0.5, 1, 0.7]]) @ parts


@pytest.mark.parametrize("shape", [(1, 1), (2, 100), (2, 4097), (3, 20000)])
@pytest.mark.parametrize("window", [(1024, 256), (1024, 512), (16384, 4096), (16, 8)])
def test_analysis_and_synthesis_give_the_signal_back(rng, shape, window):
    signal = rng.standard_normal(shape).astype(np.float32)
    again = spectral.Stft(*window).filter(lambda spectrum, _: spectrum, signal)
    assert again.shape == shape
    assert again.dtype == np.float32
    assert np.abs(again - signal).max() < 5e-6  # float32 rounding of a few standard deviations


def test_blocks_do_not_show(rng, monkeypatch):
    signal = rng.standard_normal((2, 9000)).astype(np.float32)
    stft = spectral.Stft(256, 64)
    whole = stft.magnitude(signal)
    monkeypatch.setattr(spectral, "BLOCK_FRAMES", 7)
    np.testing.assert_allclose(stft.magnitude(signal), whole, rtol=1e-6)
    assert whole.shape == (stft.n_frames(9000), stft.n_bins)


def test_a_sine_is_seen_at_its_frequency_and_amplitude():
    time = np.arange(RATE) / RATE
    stft = spectral.Stft(1024, 256)
    magnitude = stft.magnitude(np.sin(2 * np.pi * 1000 * time, dtype=np.float32)[np.newaxis])
    middle = magnitude[len(magnitude) // 2]
    assert middle.argmax() == stft.bin_of(1000, RATE) == 64
    assert middle.max() == pytest.approx(256, rel=1e-3)  # half the sum of a Hann window of 1024


def test_opposite_channels_do_not_cancel(rng):
    noise = rng.standard_normal(4000).astype(np.float32)
    stft = spectral.Stft(256, 64)
    mono = stft.magnitude(noise[np.newaxis])
    np.testing.assert_allclose(stft.magnitude(np.stack([noise, -noise])), mono, rtol=1e-5)


def test_median_filters_match_a_plain_median(rng):
    magnitude = rng.random((40, 150)).astype(np.float32)
    padded = np.pad(magnitude, ((0, 0), (3, 3)), mode="symmetric")
    wanted = np.median(np.lib.stride_tricks.sliding_window_view(padded, 7, axis=1), axis=2)
    np.testing.assert_array_equal(spectral.median_of_rows(magnitude, 7), wanted)
    np.testing.assert_array_equal(spectral.median_over_time(magnitude.T, 7), wanted.T)


def test_median_longer_than_the_signal(rng):
    magnitude = rng.random((2, 5)).astype(np.float32)
    assert np.isfinite(spectral.median_over_time(magnitude, 31)).all()


def test_harmonic_mask_splits_tone_and_click():
    magnitude = np.zeros((100, 100), np.float32)
    magnitude[:, 20] = 1  # tone
    magnitude[50, :] = 1  # click
    mask = spectral.harmonic_mask(magnitude, kernel=17)
    assert mask[70, 20] == 1
    assert mask[50, 70] == 0
    assert mask[70, 70] == 0.5  # nothing there


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_harmonic_mask_is_librosas(rng, power):
    librosa = pytest.importorskip("librosa")
    magnitude = rng.gamma(0.3, size=(90, 129)).astype(np.float32)
    magnitude[10:14] = 0
    theirs, _ = librosa.decompose.hpss(magnitude.T, kernel_size=17, power=power, mask=True)
    ours = spectral.harmonic_mask(magnitude, kernel=17, power=power)
    np.testing.assert_allclose(ours, theirs.T, atol=1e-6)


def test_similar_background_is_librosas_nearest_neighbour_filter(rng):
    librosa = pytest.importorskip("librosa")
    magnitude = rng.random((120, 30)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        theirs = librosa.decompose.nn_filter(
            magnitude.T, aggregate=np.median, metric="cosine", mode="distance", width=5, k=10
        )  # only with distances does it keep the k nearest
    ours = repetition.similar_background(magnitude, magnitude, count=10, exclude=5)
    np.testing.assert_allclose(ours, theirs.T, atol=1e-6)


def test_cepstra_are_librosas_up_to_a_constant(rng):
    librosa = pytest.importorskip("librosa")
    magnitude = rng.random((50, 513)).astype(np.float32)
    bank = librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=40, htk=True, norm=None)
    theirs = librosa.feature.mfcc(S=np.log(bank @ magnitude.T**2), n_mfcc=20).T
    ours = repetition.cepstra(magnitude, RATE)
    np.testing.assert_allclose(ours, theirs - theirs.mean(axis=0), atol=1e-3)


def test_similar_frames_keep_their_distance():
    """In a slow turn of direction the only local maximum of similarity is the frame itself."""
    angle = np.arange(12, dtype=np.float32) / 8
    magnitude = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    alone = repetition.similar_background(magnitude, magnitude, count=10, apart=4)
    np.testing.assert_array_equal(alone, magnitude)
    crowd = repetition.similar_background(magnitude, magnitude, count=10)
    assert np.abs(crowd - magnitude).max() > 0.1


def test_frames_without_similar_ones_stay():
    magnitude = np.eye(6, dtype=np.float32)
    background = repetition.similar_background(
        magnitude, magnitude, count=3, exclude=1, threshold=0.5
    )
    np.testing.assert_array_equal(background, magnitude)


@pytest.mark.parametrize("period", [12, 25, 40])
def test_the_planted_period_is_found(rng, period):
    pattern = rng.random((period, 33)).astype(np.float32)
    magnitude = np.tile(pattern, (20, 1)) + 0.2 * rng.random((20 * period, 33)).astype(np.float32)
    beat = repetition.beat_spectrum(magnitude)
    assert beat[0] == pytest.approx(1)
    assert beat[15 * period] == pytest.approx(beat[period], rel=0.02)  # few pairs, same weight
    assert repetition.repeating_period(beat, 8, 60) == period


def test_periodic_background_removes_what_happens_once(rng):
    pattern = rng.random((10, 5)).astype(np.float32)
    magnitude = np.tile(pattern, (6, 1))
    magnitude[33] += 5
    background = repetition.periodic_background(magnitude, 10)
    np.testing.assert_array_equal(background, np.tile(pattern, (6, 1)))


@pytest.mark.parametrize("family", [classical.Repet, classical.RepetSim])
def test_a_voice_over_a_repeating_background_comes_out(rng, family):
    """A glide over a loop of one second: at 0 dB in, more than 10 dB out."""
    n = 12 * RATE
    loop = np.tile(rng.standard_normal((2, RATE)), (1, 12)).astype(np.float32)
    phase = 2 * np.pi * np.cumsum(np.linspace(300, 3000, n)) / RATE
    voice = np.stack([np.sin(phase), np.sin(phase)]).astype(np.float32)
    loop *= np.linalg.norm(voice) / np.linalg.norm(loop)
    found = build(family).separate(voice + loop)
    assert snr(voice, found["vocals"]) > 10
    assert snr(loop, found["accompaniment"]) > 10


@pytest.mark.parametrize("family", [*TWO, classical.RepetSim4])
def test_nothing_deep_is_voice(rng, family):
    """The bass of 80 Hz lies below the default limit of 100 Hz, and above one of 40 Hz."""
    mixture = music(rng) + 0.05 * rng.standard_normal((2, 6 * RATE)).astype(np.float32)
    energy = []
    for limit in (40, 100):
        voice = build(family, high_pass=limit).separate(mixture)["vocals"]
        spectrum = np.abs(np.fft.rfft(voice)) ** 2
        deep = np.fft.rfftfreq(mixture.shape[1], 1 / RATE) < 85
        energy.append(spectrum[:, deep].sum())
    assert energy[1] < 0.2 * energy[0]


def test_masks_share_a_bin_or_give_it_away():
    magnitude, background = np.float32([[1, 1, 1]]), np.float32([[0.4, 0.6, 2]])
    soft = classical._foreground(magnitude, background.copy())
    np.testing.assert_allclose(soft, [[0.6, 0.4, 0]], atol=1e-6)
    hard = classical._foreground(magnitude, background, binary=True)
    np.testing.assert_array_equal(hard, [[1, 0, 0]])


@pytest.mark.parametrize("family", [classical.Repet, classical.RepetSim])
def test_a_binary_mask_is_used_where_asked_for(rng, family):
    mixture = rng.standard_normal((1, 6 * RATE)).astype(np.float32)
    soft, hard = (build(family, binary=b).separate(mixture)["vocals"] for b in (False, True))
    assert snr(soft, hard) < 10


def test_hpss_finds_a_vibrato_between_a_held_chord_and_clicks():
    """The voice is neither steady for a third of a second nor as short as a click."""
    time = np.arange(8 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * f * time) for f in (220, 277, 330))
    clicks = np.zeros_like(time)
    clicks[:: RATE // 2] = 20
    voice = np.sin(2 * np.pi * 800 * time + 8 * np.sin(2 * np.pi * 5.5 * time))
    mixture = (voice + chord + clicks).astype(np.float32)[np.newaxis]
    found = build(classical.Hpss).separate(mixture)
    assert snr(voice, found["vocals"][0]) > snr(voice, mixture[0]) + 5


def test_repet_sim_4_sends_each_part_to_its_stem():
    """Clicks are drums, a low tone is bass, a glide is voice."""
    time = np.arange(10 * RATE) / RATE
    drums = np.zeros_like(time)
    drums[:: RATE // 2] = 10
    bass = np.sin(2 * np.pi * 60 * time)
    voice = np.sin(2 * np.pi * (400 * time + 30 * time**2))
    mixture = (drums + bass + voice).astype(np.float32)[np.newaxis]
    found = build(classical.RepetSim4, voice_gain=1.0).separate(mixture)
    assert snr(drums, found["drums"][0]) > 8
    assert snr(bass, found["bass"][0]) > 8
    assert snr(voice, found["vocals"][0]) > 8


def test_a_bass_filtered_forwards_only_is_late():
    time = np.arange(4 * RATE) / RATE
    bass = (0.5 * np.sin(2 * np.pi * 100 * time)).astype(np.float32)[np.newaxis]
    late = build(classical.RepetSim4, zero_phase=False).separate(bass)["bass"]
    assert snr(bass, build(classical.RepetSim4).separate(bass)["bass"]) > snr(bass, late) + 10


def test_drums_are_attenuated_in_the_range_of_the_voice():
    click = np.zeros((1, 4 * RATE), np.float32)
    click[0, 2 * RATE] = 1
    full = build(classical.RepetSim4, voice_gain=1.0).separate(click)["drums"]
    soft = build(classical.RepetSim4, voice_gain=0.4).separate(click)["drums"]
    ratio = np.abs(np.fft.rfft(soft[0])) / np.abs(np.fft.rfft(full[0]))
    hertz = np.fft.rfftfreq(4 * RATE, 1 / RATE)
    assert np.median(ratio[(hertz > 600) & (hertz < 2500)]) == pytest.approx(0.4, abs=0.01)
    assert np.median(ratio[hertz > 4000]) == pytest.approx(1, abs=0.01)


def test_factorise_recovers_two_planted_components(rng):
    """Disjoint templates make the factorisation unique up to order and scale."""
    templates = np.zeros((2, 60), np.float32)
    templates[0, :30], templates[1, 30:] = rng.random((2, 30))
    activations = rng.random((200, 2)).astype(np.float32)
    activations[:50, 0] = activations[50:100, 1] = 0
    found, shapes = factorise(activations @ templates, 2, 200, rng)
    np.testing.assert_allclose(found @ shapes, activations @ templates, atol=1e-4)
    for template in templates:
        cosine = shapes @ template / np.linalg.norm(shapes, axis=1) / np.linalg.norm(template)
        assert cosine.max() > 0.999


def test_factorise_is_as_good_as_scikit_learns(rng):
    sklearn = pytest.importorskip("sklearn.decomposition")
    matrix = rng.gamma(0.5, size=(150, 80)).astype(np.float32)
    a, b = factorise(matrix, 5, 200, rng)
    theirs = sklearn.NMF(5, init="random", random_state=0, max_iter=1000, tol=1e-5)
    weights = theirs.fit_transform(matrix)
    assert np.linalg.norm(matrix - a @ b) < 1.02 * np.linalg.norm(
        matrix - weights @ theirs.components_
    )


def test_nmf_sends_each_part_to_its_band():
    time = np.arange(4 * RATE) / RATE
    on = np.repeat(np.arange(8) % 2, RATE // 2)
    bass = (np.sin(2 * np.pi * 60 * time) * on).astype(np.float32)
    click = np.zeros_like(bass)
    click[RATE // 4 :: RATE] = 10
    found = build(Nmf).separate((bass + click)[np.newaxis])
    assert snr(bass, found["bass"][0]) > 8
    assert snr(click, found["drums"][0]) > 8


def test_nmf_gives_a_later_stem_what_the_earlier_left():
    """A tone of 150 Hz lies in the bands of bass and vocals; bass comes first."""
    time = np.arange(4 * RATE) / RATE
    tone = np.sin(2 * np.pi * 150 * time).astype(np.float32)[np.newaxis]
    found = build(Nmf).separate(tone)
    assert snr(tone, found["bass"]) > 15
    assert np.sum(found["vocals"] ** 2) < 0.01 * np.sum(tone**2)


def test_no_frame_is_similar_enough(rng):
    mixture = music(rng, 2.0)
    assert not build(classical.RepetSim, threshold=1.1).separate(mixture)["vocals"].any()


@pytest.mark.parametrize("family", ALL)
def test_separators_keep_the_contract(rng, family):
    separator = build(family)
    assert isinstance(separator, Separator)
    for shape in [(2, 100), (1, 1), (2, RATE + 1), (1, RATE), (3, 5000)]:
        given = 0.1 * rng.standard_normal(shape).astype(np.float32)
        before = given.copy()
        found = separator.separate(given)
        assert set(found) == set(separator.stems)
        np.testing.assert_array_equal(given, before)
        for estimate in found.values():
            assert estimate.shape == shape
            assert estimate.dtype == np.float32
            assert np.isfinite(estimate).all()


@pytest.mark.parametrize("family", ALL)
def test_silence_gives_silence(family):
    found = build(family).separate(np.zeros((2, RATE), np.float32))
    assert not any(estimate.any() for estimate in found.values())


@pytest.mark.parametrize("family", [*TWO, *FOUR])
def test_stems_sum_to_the_mixture(rng, family):
    mixture = music(rng)
    total = sum(build(family).separate(mixture).values())
    assert np.abs(total - mixture).max() < 1e-6


@pytest.mark.parametrize("family", [*TWO, *FOUR])
def test_same_bytes_twice(rng, family):
    mixture = music(rng, 2.0)
    first, second = (build(family).separate(mixture) for _ in range(2))
    assert all(first[stem].tobytes() == second[stem].tobytes() for stem in first)


@pytest.mark.parametrize("family", [*TWO, *FOUR])
def test_channels_are_treated_alike(rng, family):
    """Swapped channels give swapped estimates, a silent channel stays silent, both as in mono."""
    mixture = music(rng, 2.0)
    for stem, estimate in build(family).separate(mixture).items():
        swapped = build(family).separate(mixture[::-1].copy())[stem]
        np.testing.assert_allclose(swapped[::-1], estimate, atol=1e-5)
    mono = mixture[:1]
    alone = build(family).separate(mono)
    twice = build(family).separate(np.repeat(mono, 2, axis=0))
    one_side = build(family).separate(np.concatenate([mono, 0 * mono]))
    for stem in alone:
        np.testing.assert_allclose(twice[stem], np.repeat(alone[stem], 2, axis=0), atol=1e-5)
        np.testing.assert_allclose(one_side[stem][:1], alone[stem], atol=1e-4)
        assert not one_side[stem][1].any()


@pytest.mark.parametrize("family", [*TWO, *FOUR])
def test_level_does_not_matter(rng, family):
    """A recording at -60 dB gives the same masks."""
    mixture = music(rng, 2.0)
    quiet = build(family).separate(mixture / 1024)
    for stem, estimate in build(family).separate(mixture).items():
        np.testing.assert_allclose(1024 * quiet[stem], estimate, atol=2e-4)


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000])
@pytest.mark.parametrize("family", [*TWO, *FOUR])
def test_any_sample_rate(rng, family, rate):
    found = family(sample_rate=rate).separate(0.1 * rng.standard_normal((1, 9999), np.float32))
    assert all(np.isfinite(estimate).all() for estimate in found.values())


def test_mixture_is_not_scaled(rng):
    mixture = music(rng, 0.1)
    found = Mixture(sample_rate=RATE, stems=("kick", "snare")).separate(mixture)
    assert list(found) == ["kick", "snare"]
    assert all(np.array_equal(estimate, mixture) for estimate in found.values())


@pytest.mark.parametrize("family", [*TWO, *FOUR])
def test_stems_a_method_does_not_give_are_refused(family):
    with pytest.raises(HarnessError, match=r"has stems piano; this method needs vocals"):
        build(family, stems=("piano",))


def test_unusable_parameters_are_refused():
    with pytest.raises(HarnessError, match="features is 'chroma'"):
        build(classical.RepetSim, features="chroma")
    with pytest.raises(HarnessError, match="bands"):
        build(Nmf, bands={"bass": [20, 200]})
    with pytest.raises(HarnessError, match="must be positive"):
        build(Nmf, iterations=0)


def test_the_four_stems_on_real_music(shared_data):
    """Better than the mixture as the estimate of every stem by at least 3 dB."""
    from harness.core import audio

    folder = shared_data / "musdb18hq" / "test" / "Music Delta - Rock"
    mixture, rate = audio.read(folder / "mixture.wav")
    for family in FOUR:
        for stem, estimate in family(sample_rate=rate).separate(mixture).items():
            truth, _ = audio.read(folder / f"{stem}.wav")
            assert snr(truth, estimate) > snr(truth, mixture) + 3, (family, stem)


@pytest.mark.slow
@pytest.mark.parametrize("family", [*TWO, *FOUR])
def test_ten_minutes_fit_in_memory(rng, family):
    """Stereo of 73 MiB; the similarities of all frames would be 1.3 GiB at least, often 5.2."""
    mixture = np.tile(rng.standard_normal((2, RATE)).astype(np.float32), (1, 600))
    separator = build(family, **({"iterations": 3} if family is Nmf else {}))
    tracemalloc.start()
    separator.separate(mixture)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 600 * MIB


def test_the_middle_of_the_image_is_the_lead_and_the_sides_are_not(rng):
    time = np.arange(2 * RATE) / RATE
    tone = 0.3 * np.sin(2 * np.pi * 440 * time) * np.float32([[1], [1]])
    sides = 0.2 * np.sin(2 * np.pi * np.array([[900.0], [1300.0]]) * time)
    lead, background = tone.astype(np.float32), sides.astype(np.float32)
    found = classical.Centre(sample_rate=RATE).separate(lead + background)
    assert snr(lead, found["lead"]) > 15
    assert snr(background, found["background"]) > 15
    np.testing.assert_allclose(found["lead"] + found["background"], lead + background, atol=1e-6)


def test_the_middle_needs_two_channels():
    with pytest.raises(HarnessError, match="has 1 channels"):
        classical.Centre(sample_rate=RATE).separate(np.zeros((1, 100), np.float32))


def shares_told(separator: Separator, audio: Audio) -> list[float]:
    """Return what a separator tells of its progress with a signal."""
    heard: list[float] = []
    with progress.told(heard.append):
        separator.separate(audio)
    return heard


@pytest.fixture
def short_blocks(monkeypatch):
    """Make blocks so short that a few seconds are as many of them as a song."""
    for module in (spectral, repetition):
        monkeypatch.setattr(module, "BLOCK_FRAMES", 16)


@pytest.mark.parametrize("name", UNTRAINED)
def test_progress_is_told_in_small_steps_to_the_end(rng, short_blocks, name):
    separator = load(ENTRIES[name], stems=(), sample_rate=RATE)
    heard = shares_told(separator, music(rng))
    steps = np.diff([0, *heard])
    assert steps.min() >= 0
    assert steps.max() < 0.15
    assert heard[-1] == 1


def test_members_of_an_ensemble_tell_of_their_part_alone(rng, short_blocks):
    """Two members and a cascade: a third of the work each; putting them together tells nothing."""
    stems = {"drums": {"nmf": 0.5, "repet_sim": 0.5}, "kick": {"drum_nmf": 1.0}}
    entry = registry.ensemble("e", {"stems": stems, "how": "min_mag"}, ENTRIES)
    heard = shares_told(load(entry, stems=(), sample_rate=RATE), music(rng))
    steps = np.diff([0, *heard])
    assert steps.min() >= 0
    assert steps.max() < 0.05
    assert {1 / 3, 2 / 3} < {*heard}
    assert heard[-1] == 1
    assert heard.count(1) == 1
