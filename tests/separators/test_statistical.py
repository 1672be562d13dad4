"""ICA, ILRMA and IDLMA, on mixtures whose parts and filters are known, and against ssspy."""

import tracemalloc

import numpy as np
import pytest

from harness import registry
from harness.core import audio
from harness.core.errors import HarnessError
from harness.datasets.demo.rendering import NODES, render_track
from harness.separators import is_learned, load
from harness.separators.protocol import parameters
from harness.separators.spectral import Stft
from harness.separators.statistical import (
    Ica,
    Idlma,
    Ilrma,
    LowRank,
    best_filters,
    central,
    covariances,
    fast_ica,
    filtered,
    powers_of,
    projections,
)

RATE = 16000
STFT = Stft(2048, 512)  # of 128 ms
ALL = (Ica, Ilrma)
ROOMS = (3, 4, 5)  # seeds of their echoes
ENTRIES = registry.load(None)


def snr(reference, estimate):
    error = np.sum((reference.astype(float) - estimate) ** 2)
    return 10 * np.log10(np.sum(reference.astype(float) ** 2) / error)


def gain(images, estimates):
    """Return the mean gain in SDR of two estimates, in the better order."""
    mixture = sum(images)
    return max(
        np.mean([snr(t, e) - snr(t, mixture) for t, e in zip(images, order, strict=True)])
        for order in (estimates, estimates[::-1])
    )


def separated(matrices, mixture, stft=STFT):
    return [
        stft.filter(lambda spectrum, _, image=image: filtered(image, spectrum), mixture)
        for image in projections(matrices)
    ]


@pytest.fixture(scope="module")
def stems():
    """Two stems of demo music, mono, 4 s at 16 kHz."""
    track = render_track("train", 0, seconds=6.0)
    found = []
    for name in ("vocals", "drums"):
        signal = np.sum([track.stems[leaf] for leaf in NODES[name]], axis=0).mean(axis=0)
        signal = audio.resample(signal[np.newaxis].astype(np.float32), track.sample_rate, RATE)
        found.append(signal[0, : 4 * RATE])
    return found


def in_a_room(stems, room):
    """Return each stem's image at two microphones: echoes of a quarter of a window, equal level."""
    rng, n = np.random.default_rng(room), round(0.03 * RATE)
    images = []
    for stem, direct in zip(stems, ((1, 0.6), (0.5, 1)), strict=True):
        echoes = 0.3 * rng.standard_normal((2, n)) * np.exp(-np.arange(n) / (n / 5))
        echoes[0, 0], echoes[1, 3] = direct
        image = np.stack([np.convolve(stem, echo)[: len(stem)] for echo in echoes])
        images.append((0.1 * image / image.std()).astype(np.float32))
    return images


@pytest.fixture(scope="module")
def in_room(stems):
    return in_a_room(stems, ROOMS[0])


def gain_of_row(name, images):
    row = ENTRIES[name]
    return gain(images, [*Ilrma(sample_rate=RATE, **row.params).separate(sum(images)).values()])


@pytest.mark.parametrize("room", ROOMS)
def test_ilrma_separates_a_convolutive_mixture(stems, room):
    assert gain_of_row("ilrma", in_a_room(stems, room)) > 8


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("name", ["t_ilrma", "consistent_ilrma"])
def test_the_other_forms_separate_it_too(stems, room, name):
    assert gain_of_row(name, in_a_room(stems, room)) > 8


def test_with_many_degrees_the_t_form_is_the_normal_one(in_room):
    mixture = sum(in_room)[:, :RATE]
    found = []
    for degrees in (None, 5.0, 1e3, 1e5, 1e9):
        fit = LowRank(mixture, STFT, 4, np.random.default_rng(0))
        for _ in range(5):
            fit.iterate(degrees)
        found.append(np.log(fit.model))
    far = [np.abs(model - found[0]).mean() for model in found[1:]]
    assert far[0] > far[1] > far[2] > far[3] == pytest.approx(0, abs=1e-6)
    assert far[0] > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_ilrma_is_as_good_as_ssspys(stems, room):
    """As published and from the same start, both reach the same gain; ours in 32 bits."""
    ilrma = pytest.importorskip("ssspy.bss.ilrma", reason="ssspy 0.2.0 is not installed")
    images, bases, iterations = in_a_room(stems, room), 10, 60
    mixture = sum(images)
    blocks = [spectrum for _, spectrum in STFT.blocks(mixture)]
    spectra = np.concatenate(blocks, axis=1).transpose(0, 2, 1).astype(np.complex128)
    spectra /= np.sqrt(np.mean(np.abs(spectra) ** 2))
    rng = np.random.default_rng(42)
    basis = rng.random((2, STFT.n_bins, bases), np.float32).astype(float)
    activation = rng.random((2, bases, spectra.shape[2]), np.float32).astype(float)
    theirs = ilrma.GaussILRMA(
        n_basis=bases, spatial_algorithm="IP2", record_loss=False, scale_restoration=False
    )
    theirs(spectra, n_iter=iterations, basis=basis, activation=activation)
    ours = LowRank(mixture, STFT, bases, np.random.default_rng(42))
    for _ in range(iterations):
        ours.iterate()
    wanted = gain(images, separated(theirs.demix_filter, mixture))
    assert gain(images, separated(ours.demixing, mixture)) == pytest.approx(wanted, abs=0.5)


@pytest.fixture(scope="module")
def panned(stems):
    mixing = np.float32([[1, 0.9], [0.4, 1]])  # the first is the voice, nearer to the middle
    return [np.outer(column, stem) for column, stem in zip(mixing, stems, strict=True)]


def test_ica_separates_an_instantaneous_mixture_and_names_the_voice(panned):
    found = Ica(sample_rate=RATE).separate(sum(panned))
    assert gain(panned, [*found.values()]) > 8
    assert snr(panned[0], found["vocals"]) > 8


def log_cosh_ica(mixture):
    """Return the matrix (2, 2) of ssspy's FastICA with our contrast."""
    ica = pytest.importorskip("ssspy.bss.ica", reason="ssspy 0.2.0 is not installed")
    theirs = ica.FastICA(
        contrast_fn=lambda y: np.log(np.cosh(y)),
        score_fn=np.tanh,
        d_score_fn=lambda y: 1 - np.tanh(y) ** 2,
        record_loss=False,
    )
    return theirs(mixture, n_iter=50) @ np.linalg.pinv(mixture)


def parts_of(demixing, mixture):
    return [image[0].real @ mixture for image in projections(demixing[np.newaxis])]


def test_ica_is_as_good_as_ssspys(panned, rng):
    """With hiss 25 dB below. The next test says in what they differ."""
    mixture = sum(panned).astype(float)
    mixture += 10 ** (-25 / 20) * mixture.std() * rng.standard_normal(mixture.shape)
    wanted = gain(panned, parts_of(log_cosh_ica(mixture), mixture))
    ours = Ica(sample_rate=RATE).separate(mixture.astype(np.float32))
    assert wanted > 8
    assert gain(panned, [*ours.values()]) == pytest.approx(wanted, abs=0.5)


def test_ssspys_ica_orthogonalizes_one_after_another(panned):
    """Its first row is the best of its own, and the second what is orthogonal to it.

    Ours turns both rows at once, and subtracts the mean before. On a clean mixture the two differ
    by some dB, far above 35.
    """
    mixture = sum(panned).astype(float)
    theirs, ours = log_cosh_ica(mixture), fast_ica(mixture, 200).real
    assert min(gain(panned, parts_of(found, mixture)) for found in (theirs, ours)) > 35
    values, vectors = np.linalg.eigh(mixture @ mixture.T / mixture.shape[1])
    whitening = (vectors / np.sqrt(values)).T
    white = whitening @ mixture

    def turned(demixing):
        """Return by how much an update of each row alone turns it, in radians."""
        rows = demixing @ np.linalg.inv(whitening)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        tanh = np.tanh(rows @ white)
        slope = 1 - np.mean(tanh**2, axis=1, keepdims=True)
        new = tanh @ white.T / white.shape[1] - slope * rows
        cosine = np.abs(np.sum(new * rows, axis=1)) / np.linalg.norm(new, axis=1)
        return np.arccos(np.clip(cosine, 0, 1))

    assert turned(theirs)[0] < 1e-6
    assert turned(theirs)[1] > 1e-3
    assert turned(ours).min() > 1e-3


def test_fast_ica_undoes_a_known_mixing(rng):
    mixing = np.array([[1, 0.8], [0.3, -1]])
    found = fast_ica(mixing @ rng.laplace(size=(2, 50000)), 200).real @ mixing
    assert np.abs(found).min(axis=1).max() < 0.02 * np.abs(found).max(axis=1).min()


def test_given_true_powers_the_filters_undo_the_mixing(rng):
    """Weighted covariances of two sources with known powers have one pair of common filters."""
    powers, mixing, products = known_sources(rng)
    found = best_filters(covariances(1 / powers, products)) @ mixing
    for matrix in np.abs(found):
        assert matrix[0, 1] < 0.1 * matrix[0, 0]
        assert matrix[1, 0] < 0.1 * matrix[1, 1]


def known_sources(rng, outliers=0):
    """Return powers (bins, 2, frames), mixing (bins, 2, 2) and products with loud strangers."""
    n_bins, n_frames = 5, 2000
    powers = 10 ** rng.uniform(-2, 2, (n_bins, 2, n_frames)).astype(np.float32)
    noise = rng.standard_normal((2, *powers.shape)) / np.sqrt(2)
    mixing = rng.standard_normal((n_bins, 2, 2)) + 1j * rng.standard_normal((n_bins, 2, 2))
    mixture = mixing @ ((noise[0] + 1j * noise[1]) * np.sqrt(powers))
    mixture[:, :, :outliers] += 300 * np.array([1, 1j])[:, np.newaxis] * rng.choice([-1, 1])
    a, b = mixture[:, 0], mixture[:, 1]
    cross = 2 * a * b.conj()
    products = np.stack([np.abs(a) ** 2, np.abs(b) ** 2, cross.real, cross.imag], axis=1)
    return powers, mixing, products.astype(np.float32)


def test_outliers_mislead_the_t_form_less(rng):
    """A stranger in one frame of a hundred, 50 dB above the sources, whose powers are known."""
    powers, mixing, products = known_sources(rng, outliers=20)

    def leak(degrees):
        filters = np.linalg.inv(mixing)
        for _ in range(5):
            expected = powers
            if degrees:
                found = powers_of(filters, products)
                expected = (degrees * powers + 2 * found) / (degrees + 2)
            filters = best_filters(covariances(1 / expected, products))
        through = np.abs(filters @ mixing) ** 2
        return np.mean((through[:, 0, 1] + through[:, 1, 0]) / through.sum(axis=(1, 2)))

    assert leak(1.0) < 0.1 * leak(None)


def test_the_model_of_the_t_form_follows_outliers_less(in_room):
    """A click in an otherwise unchanged mixture moves the models of normal sources further."""
    clicked = sum(in_room).copy()
    clicked[:, 2 * RATE] += 20
    moved = []
    for degrees in (None, 1.0):
        rows = []
        for mixture in (sum(in_room), clicked):
            fit = LowRank(mixture / np.float32(0.1), STFT, 2, np.random.default_rng(0))
            for _ in range(5):
                fit.iterate(degrees, filters=False)
            model = np.log(fit.model)
            rows.append(model - model.mean())
        moved.append(np.std(rows[1] - rows[0]))
    assert moved[1] < 0.8 * moved[0]


def permuted(matrices, mixing):
    """Return the bins in which the sources are in the other order than in most bins."""
    found = np.abs(matrices @ mixing)
    other = found[:, 0, 0] * found[:, 1, 1] < found[:, 0, 1] * found[:, 1, 0]
    return min(np.sum(other), np.sum(~other))


def test_the_consistent_form_undoes_more_permutations(in_room):
    """True filters, but with the sources swapped in bands of eight bins of every twenty."""
    mixing = np.zeros((STFT.n_bins, 2, 2), complex)
    for i, image in enumerate(in_room):
        covariance = np.zeros_like(mixing)
        for _, spectrum in STFT.blocks(image):
            by_bin = spectrum.transpose(2, 0, 1).astype(complex)
            covariance += by_bin @ by_bin.conj().swapaxes(1, 2)
        mixing[:, :, i] = np.linalg.eigh(covariance)[1][:, :, 1]
    start = np.linalg.inv(mixing)
    swapped = np.arange(STFT.n_bins) % 20 < 8
    start[swapped] = start[swapped][:, ::-1]
    left = {}
    for consistent in (False, True):
        fit = LowRank(sum(in_room), STFT, 4, np.random.default_rng(0), start=start)
        for step in range(20):
            fit.iterate(consistent=consistent, filters=step >= 10)
        left[consistent] = permuted(fit.demixing, mixing)
    assert left[True] < 0.7 * left[False]


def test_the_voice_is_the_central_one_then_the_one_with_syllables(rng):
    time = np.arange(4 * RATE) / RATE
    spoken = rng.standard_normal(len(time)) * (1 + np.sin(2 * np.pi * 4 * time))
    held = rng.standard_normal(len(time))
    for pans, voice in (
        (((1, 1), (1, 0.3)), 0),
        (((1, 0.3), (1, 1)), 1),
        (((1, -1), (1, 0.2)), 1),  # opposite channels are as far from the middle as can be
        (((1, 0.97), (0.97, 1)), 1),  # equally central
    ):
        mixing = np.array(pans, float).T
        mixture = (mixing @ np.stack([held, spoken])).astype(np.float32)
        images = projections(np.linalg.inv(mixing)[np.newaxis].astype(complex))
        assert central(mixture, STFT, RATE, images) == voice


@pytest.mark.parametrize("family", ALL)
def test_estimates_sum_to_the_mixture_and_are_the_same_again(panned, family):
    mixture = sum(panned)[:, :RATE]
    build = {"iterations": 5}
    found = family(sample_rate=RATE, **build).separate(mixture)
    assert np.abs(sum(found.values()) - mixture).max() < 1e-6
    again = family(sample_rate=RATE, **build).separate(mixture)
    assert all(np.array_equal(found[stem], again[stem]) for stem in found)
    quiet = family(sample_rate=RATE, **build).separate(mixture / 1024)
    np.testing.assert_allclose(1024 * quiet["vocals"], found["vocals"], atol=1e-2)


@pytest.mark.parametrize("family", ALL)
def test_what_cannot_be_separated_is_refused(rng, family):
    mono = rng.standard_normal((1, RATE)).astype(np.float32)
    with pytest.raises(HarnessError, match="has 1 channels; this method needs two"):
        family(sample_rate=RATE).separate(mono)
    for second in (mono, -0.5 * mono, 0 * mono):
        with pytest.raises(HarnessError, match="both channels hold one signal"):
            family(sample_rate=RATE).separate(np.concatenate([mono, second]))
    silence = family(sample_rate=RATE).separate(np.zeros((2, RATE), np.float32))
    assert not any(estimate.any() for estimate in silence.values())


def test_a_filter_for_a_long_track_is_estimated_from_pieces_of_it(rng, monkeypatch):
    seen = []

    class Watched(LowRank):
        def __init__(self, part, *given):
            seen.append(part.shape)
            super().__init__(part, *given)

    monkeypatch.setattr("harness.separators.statistical.LowRank", Watched)
    mixture = rng.standard_normal((2, 6 * RATE)).astype(np.float32)
    found = Ilrma(sample_rate=RATE, seconds=2.0, iterations=2).separate(mixture)
    assert seen == [(2, 12 * (2 * RATE // 12))]
    assert found["vocals"].shape == mixture.shape


def test_idlma_follows_its_separator(in_room):
    """Guided by true powers, a filter is better than blind; the voice needs no rule."""
    voice, rest = in_room

    class Guide:
        sample_rate, stems, input_stem = RATE, ("vocals", "accompaniment"), "mixture"

        def separate(self, given):
            return {"vocals": voice, "accompaniment": rest}

    found = Idlma(sample_rate=RATE, network="known", guide=(ENTRIES["repet"], Guide())).separate(
        voice + rest
    )
    assert snr(voice, found["vocals"]) > snr(voice, voice + rest) + 10
    assert np.abs(sum(found.values()) - voice - rest).max() < 1e-6


def test_idlma_has_the_weights_and_training_data_of_its_network():
    row, network = ENTRIES["idlma"], ENTRIES["asnet_demo"]
    assert row.guide == network
    assert row.weights == network.weights
    assert row.trained_on == network.trained_on
    assert row.license.weights == network.license.weights
    assert [part.name for part in row.parts] == ["idlma", "asnet_demo"]
    assert is_learned(row)
    assert row.identity() != ENTRIES["ilrma"].identity()


def test_the_shipped_idlma_runs(rng):
    separator = load(ENTRIES["idlma"])
    mixture = 0.1 * rng.standard_normal((2, 44100)).astype(np.float32)
    found = separator.separate(mixture)
    assert np.abs(sum(found.values()) - mixture).max() < 1e-6
    assert parameters(separator) == parameters(load(ENTRIES["asnet_demo"]))


@pytest.mark.parametrize("name", ["idlma", "mixture", "drum_nmf", "no_such_row", 3])
def test_idlma_needs_a_separator_of_voices(tmp_path, name):
    path = tmp_path / "model_registry.yaml"
    path.write_text(f"mine:\n  extends: idlma\n  params: {{network: {name}}}\n")
    with pytest.raises(HarnessError, match=f"network {name!r} is no separator of the mixture"):
        registry.load(path)


def test_weights_of_idlma_are_not_given_twice(tmp_path):
    path = tmp_path / "model_registry.yaml"
    path.write_text("mine:\n  extends: idlma\n  trained_on: [musdb18]\n")
    with pytest.raises(HarnessError, match="trained_on comes from its network"):
        registry.load(path)


def test_an_ensemble_may_have_idlma_as_a_member():
    params = {"stems": {"vocals": {"idlma": 1.0}}}
    entry = registry.ensemble("e", params, ENTRIES)
    assert [part.name for part in entry.parts] == ["e", "idlma", "asnet_demo"]


@pytest.mark.parametrize(
    "wrong", [{"bases": 0}, {"iterations": 0}, {"settling": -1}, {"degrees": 0.0}]
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(HarnessError, match="out of range"):
        Ilrma(sample_rate=RATE, **wrong)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"settling": 0}])
def test_ten_minutes_fit_in_memory(rng, options):
    mixture = np.tile(rng.standard_normal((2, 44100)).astype(np.float32), (1, 600))
    separator = Ilrma(sample_rate=44100, iterations=1, **options)
    tracemalloc.start()
    separator.separate(mixture)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * mixture.nbytes + 700 * 2**20
