"""Ideal masks: exact where stems are disjoint, ordered where they overlap, sane where silent."""

import numpy as np
import pytest

from harness.separators.anchors import (
    IdealBinaryMask,
    IdealRatioMask,
    Mixture,
    MultichannelWiener,
)
from harness.separators.protocol import Oracle, Separator
from harness.separators.spectral import stft_of

RATE = 16000
ORACLES = (IdealBinaryMask, IdealRatioMask, MultichannelWiener)
STEMS = ("vocals", "drums", "bass")


def snr(reference, estimate):
    error = np.sum((reference.astype(float) - estimate) ** 2)
    return 10 * np.log10(np.sum(reference.astype(float) ** 2) / error)


def mean_snr(oracle, references):
    found = oracle.separate_with(sum(references.values()), references)
    return np.mean([snr(references[stem], found[stem]) for stem in references])


def build(family, stems=STEMS, **params):
    return family(sample_rate=RATE, stems=stems, **params)


@pytest.fixture
def panned(rng):
    """Three noises in overlapping bands, each from its own direction."""
    noise = rng.standard_normal((3, 2 * RATE))
    smooth = np.apply_along_axis(np.convolve, 1, noise, np.hanning(9), "same")
    parts = np.stack([noise[0], smooth[1], np.diff(noise[2], prepend=0)])
    gains = np.array([[1, 1], [1, 0.2], [0.1, 1]])
    stereo = 0.1 * gains[:, :, np.newaxis] * parts[:, np.newaxis]
    return dict(zip(STEMS, stereo.astype(np.float32), strict=True))


@pytest.fixture
def disjoint():
    """Tones far apart: no bin holds two of them."""
    time = np.arange(2 * RATE) / RATE
    tones = [np.sin(2 * np.pi * f * time) * np.hanning(2 * RATE) for f in (300, 1500, 5000)]
    return {
        stem: np.stack([tone, 0.5 * tone]).astype(np.float32)
        for stem, tone in zip(STEMS, tones, strict=True)
    }


@pytest.mark.parametrize("family", ORACLES)
def test_disjoint_stems_come_out_whole(disjoint, family):
    assert mean_snr(build(family), disjoint) > 40


def test_more_knowledge_scores_higher(panned):
    mixture = sum(panned.values())
    nothing = np.mean([snr(reference, mixture) for reference in panned.values()])
    binary, ratio, wiener = (mean_snr(build(family), panned) for family in ORACLES)
    assert nothing + 3 < binary < ratio < wiener


def test_the_ratio_mask_of_one_bin_is_known():
    """Two stems in phase, amplitudes 3 and 1: shares of 3/4 and 1/4, or 9/10 and 1/10."""
    tone = np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE, dtype=np.float32)[np.newaxis]
    references = {"vocals": 0.3 * tone, "drums": 0.1 * tone}
    for power, share in ((1.0, 0.75), (2.0, 0.9)):
        oracle = build(IdealRatioMask, power=power)
        found = oracle.separate_with(0.4 * tone, references)
        np.testing.assert_allclose(found["vocals"], share * 0.4 * tone, atol=1e-4)


def test_the_binary_mask_keeps_what_is_above_the_threshold():
    tone = np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE, dtype=np.float32)[np.newaxis]
    references = {"vocals": 0.24 * tone, "drums": 0.16 * tone}
    found = build(IdealBinaryMask).separate_with(0.4 * tone, references)
    np.testing.assert_allclose(found["vocals"], 0.4 * tone, atol=1e-4)
    assert np.abs(found["drums"]).max() < 1e-4


def test_direction_alone_separates():
    """Two noises, one of them out of phase: masks cannot tell them apart, the joint filter can."""
    noise = np.random.default_rng(1).standard_normal((2, 2 * RATE)).astype(np.float32)
    references = {
        "vocals": np.stack([noise[0], noise[0]]),
        "drums": np.stack([noise[1], -noise[1]]),
    }
    assert mean_snr(build(MultichannelWiener), references) > 40
    assert mean_snr(build(IdealRatioMask), references) < 15


@pytest.mark.parametrize("family", ORACLES)
def test_a_silent_stem_gets_silence_and_the_others_do_not_suffer(panned, family):
    oracle = build(family)
    before = oracle.separate_with(sum(panned.values()), panned)
    silent = {**panned, "other": np.zeros_like(panned["drums"])}
    after = oracle.separate_with(sum(panned.values()), silent)
    assert np.abs(after["other"]).max() < 1e-6
    for stem in panned:
        np.testing.assert_allclose(after[stem], before[stem], atol=1e-4)


@pytest.mark.parametrize("family", ORACLES)
def test_all_silent(family):
    nothing = np.zeros((2, 5000), np.float32)
    found = build(family).separate_with(nothing, dict.fromkeys(STEMS, nothing))
    assert not any(estimate.any() for estimate in found.values())


@pytest.mark.parametrize("family", [IdealRatioMask, MultichannelWiener])
def test_stems_sum_to_the_mixture_and_what_is_not_given_is_left_out(panned, family):
    mixture = sum(panned.values())
    found = build(family).separate_with(mixture, panned)
    assert snr(mixture, sum(found.values())) > 40
    alone = build(family).separate_with(mixture, {"vocals": panned["vocals"]})
    assert snr(panned["vocals"], alone["vocals"]) > snr(panned["vocals"], mixture) + 3


@pytest.mark.parametrize("family", ORACLES)
def test_a_stem_inside_another_changes_nothing(panned, family):
    """Kick lies inside drums; counted as one more source it would take from them."""
    mixture = sum(panned.values())
    plain = build(family).separate_with(mixture, panned)
    nested = {"kick": 0.5 * panned["drums"], **panned, "accompaniment": mixture - panned["vocals"]}
    found = build(family).separate_with(mixture, nested)
    assert list(found) == list(nested)
    for stem in ("drums", "bass"):
        np.testing.assert_allclose(found[stem], plain[stem], atol=1e-4)


@pytest.mark.parametrize("family", ORACLES)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_any_length_and_channels(rng, family, channels):
    for n in (1, 100, 4097):
        references = {s: rng.standard_normal((channels, n)).astype(np.float32) for s in STEMS}
        mixture = sum(references.values())
        oracle = build(family)
        first = oracle.separate_with(mixture, references)
        second = oracle.separate_with(mixture, references)
        for stem in STEMS:
            assert first[stem].shape == (channels, n)
            assert first[stem].dtype == np.float32
            assert first[stem].tobytes() == second[stem].tobytes()


def test_the_joint_filter_is_the_local_gaussian_models(rng):
    """Bin by bin from the definition, in stems whose channels are partly alike."""
    mixing = rng.standard_normal((3, 2, 2))
    stems = (mixing @ rng.standard_normal((3, 2, 400))).astype(np.float32)
    stft = stft_of(350, overlap=2)
    (_, spectra), *more = stft.blocks(*stems)
    assert not more
    sources = spectra.reshape(3, 2, *spectra.shape[1:]).transpose(0, 3, 2, 1).astype(complex)
    wanted = np.zeros_like(sources)
    for f in range(stft.n_bins):
        seen = sources[:, f, :, :, np.newaxis] * sources[:, f, :, np.newaxis, :].conj()
        power = np.trace(seen, axis1=2, axis2=3).real / 2
        spatial = np.mean(seen / power[..., np.newaxis, np.newaxis], axis=1)
        for t in range(sources.shape[2]):
            covariances = []
            for j in range(3):
                variance = np.trace(np.linalg.inv(spatial[j]) @ seen[j, t]).real / 2
                covariances.append(variance * spatial[j])
            mixture = sources[:, f, t].sum(axis=0)
            white = np.linalg.solve(sum(covariances), mixture)
            wanted[:, f, t] = [covariance @ white for covariance in covariances]
    rows = wanted.transpose(0, 3, 2, 1).reshape(spectra.shape).astype(np.complex64)
    signals = stft.filter(lambda *_: rows, *stems).reshape(stems.shape)
    oracle = MultichannelWiener(sample_rate=350, stems=STEMS)
    found = oracle.separate_with(stems.sum(axis=0), dict(zip(STEMS, stems, strict=True)))
    for stem, signal in zip(STEMS, signals, strict=True):
        np.testing.assert_allclose(found[stem], signal, atol=2e-3)


def test_dual_mono_is_filtered_as_mono(panned):
    """A singular spatial covariance must not blow up: the joint filter becomes a power mask."""
    twice = {stem: np.repeat(part[:1], 2, axis=0) for stem, part in panned.items()}
    mixture = sum(twice.values())
    wiener = build(MultichannelWiener).separate_with(mixture, twice)
    ratio = build(IdealRatioMask).separate_with(mixture, twice)
    for stem in twice:
        np.testing.assert_allclose(wiener[stem], ratio[stem], atol=1e-4)


def test_protocols():
    assert all(isinstance(build(family), Oracle) for family in ORACLES)
    assert not any(isinstance(build(family), Separator) for family in ORACLES)
    assert not isinstance(build(Mixture), Oracle)
