"""Scale-invariant SIR and SAR, improvements and energy at silence, on tracks and for blends."""

import numpy as np
import pytest

from harness.core import audio
from harness.core.errors import HarnessError
from harness.metrics import DEFAULT, analyse, bleed, products, read_blends, scorer, write_blends

FREE = ("si_sir", "si_sar", "sd_sdr", "snri", "sdri", "si_sdri")
TRACKS = ("Music Delta - Hendrix", "Music Delta - Reggae", "Music Delta - Rock")
STEMS = ("vocals", "drums", "bass", "other")
RATE = 44100


def ratio(above: np.ndarray, below: np.ndarray) -> float:
    return 10 * float(np.log10(np.vdot(above, above) / np.vdot(below, below)))


def as_nussl_defines(references: dict[str, np.ndarray], stem: str, e: np.ndarray) -> dict:
    """nussl's scale_bss_eval from its definition, all channels one after the other."""
    r = np.stack([x.astype(np.float64).ravel() for x in references.values()], axis=1)
    x = r[:, list(references).index(stem)]
    e, mixture = e.astype(np.float64).ravel(), r.sum(axis=1)

    def of(signal: np.ndarray) -> dict[str, float]:
        alpha = (x @ signal) / (x @ x)
        residual = signal - alpha * x
        b = np.linalg.solve(r.T @ r, r.T @ residual)
        snr = ratio(x, signal - x)
        return {
            "snr": snr,
            "si_sdr": ratio(alpha * x, residual),
            "si_sir": ratio(alpha * x, r @ b),
            "si_sar": ratio(alpha * x, residual - r @ b),
            "sd_sdr": snr + 10 * np.log10(alpha**2),
        }

    own, of_mixture = of(e), of(mixture)
    gains = {f"{name}i": own[name] - of_mixture[name] for name in ("snr", "si_sdr")}
    return {**own, **gains}


def estimates_of(references, rng):
    """What separators leave: the stem, filtered and partly missing, some bleed, and noise."""
    mixture = np.sum(list(references.values()), axis=0)
    found = {}
    for stem, x in references.items():
        noise = 0.01 * rng.standard_normal(x.shape)
        smeared = 0.7 * x + 0.2 * np.roll(x, 3, axis=1)
        found[stem] = (smeared + 0.1 * mixture + noise * np.abs(x).max()).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def tracks(shared_data):
    """Three real tracks, one second each from the middle."""
    found = {}
    for track in TRACKS:
        folder = shared_data / "musdb18hq" / "test" / track
        whole = {stem: audio.read(folder / f"{stem}.wav")[0] for stem in STEMS}
        start = whole["drums"].shape[1] // 2
        found[track] = {
            s: np.ascontiguousarray(x[:, start:][:, : RATE + 9999]) for s, x in whole.items()
        }
    return found


@pytest.mark.parametrize("with_filters", [True, False], ids=["correlations", "signals"])
def test_values_are_those_of_nussls_definitions(tracks, rng, with_filters):
    names = ("snr", "si_sdr", "si_sir", "si_sar", "sd_sdr", "snri", "si_sdri")
    for references in tracks.values():
        estimates = estimates_of(references, rng)
        metrics = (*names, "sdr") if with_filters else names
        scores = analyse(references, RATE, metrics=metrics).score(estimates)
        for stem in STEMS:
            true = as_nussl_defines(references, stem, estimates[stem])
            for name in names:
                assert scores[stem][name].value == pytest.approx(true[name], abs=1e-9)


def test_blends_score_as_their_audio(tracks, rng):
    for references in tracks.values():
        ready = analyse(references, RATE, metrics=FREE)
        systems = {name: estimates_of(references, rng) for name in "abc"}
        stem = str(rng.choice(STEMS))
        blend = ready.blend(stem, {name: found[stem] for name, found in systems.items()})
        weights = rng.dirichlet(np.ones(3), 20)
        found = {name: scorer([blend], name)(weights)[:, 0] for name in FREE}
        for i, w in enumerate(weights):
            mixed = sum(
                wk * s[stem].astype(np.float64) for wk, s in zip(w, systems.values(), strict=True)
            )
            true = ready.score({stem: mixed})[stem]
            for name in FREE:
                assert found[name][i] == pytest.approx(true[name].value, abs=1e-6)


def test_a_planted_bleed_is_all_that_is_found(tracks):
    for references in tracks.values():
        ready = analyse(references, RATE, metrics=["si_sir"])
        planted = references["vocals"] + np.float32(0.1) * references["drums"]
        blend = ready.blend("vocals", {"a": planted})
        found = dict(zip((*blend.sources, bleed.NO_STEM), bleed.levels(blend)[0], strict=True))
        assert found.pop("drums") == pytest.approx(-20, abs=1e-6)
        assert found.pop("vocals") == pytest.approx(0, abs=1e-6)
        assert set(found) == {"bass", "other", bleed.NO_STEM}
        assert max(found.values()) < -100
        seconds = bleed.second_errors(blend, "a")
        audible = seconds.levels > -60
        drums = seconds.shares[audible, seconds.kinds.index("drums")]
        assert audible.any()
        assert drums == pytest.approx(1, abs=1e-6)


def test_errors_of_a_second_are_named(rng):
    stems = {name: (0.1 * rng.standard_normal((2, 5 * 8000))).astype(np.float32) for name in "xyz"}
    x, y, z = stems.values()
    pieces = [0.5 * x, 1.5 * x, x + 0.2 * y, x + 0.2 * z, x + 0.02 * rng.standard_normal(x.shape)]
    estimate = np.hstack([p[:, i * 8000 : (i + 1) * 8000] for i, p in enumerate(pieces)])
    blend = analyse(stems, 8000, metrics=[]).blend("x", {"a": estimate.astype(np.float32)})
    seconds = bleed.second_errors(blend, "a")
    worst = [seconds.kinds[i] for i in seconds.shares.argmax(axis=1)]
    assert worst == [bleed.MISSING, bleed.TOO_LOUD, "y", "z", bleed.NO_STEM]
    assert seconds.shares.max(axis=1) == pytest.approx(1, abs=0.01)
    expected = [20 * np.log10(v) for v in (0.5, 0.5, 0.2, 0.2, 0.2)]
    assert seconds.levels == pytest.approx(expected, abs=0.3)


def test_silence_is_scored_where_the_reference_is_silent(rng):
    x = (0.1 * rng.standard_normal((2, 4 * 8000))).astype(np.float32)
    y = x[:, ::-1].copy()
    x[:, 8000:24000] = 0
    estimate = x.copy()
    estimate[:, 8000:16000], estimate[:, 16000:24000] = 0.01, 0.1
    stems = {"x": x, "y": y, "z": np.zeros_like(x)}
    ready = analyse(stems, 8000, metrics=[*DEFAULT, "pes"])
    scores = ready.score({"x": estimate, "y": y, "z": estimate})
    energies = [10 * np.log10(16000 * a**2) for a in (0.01, 0.1)]
    assert scores["x"]["pes"].value == pytest.approx(np.mean(energies), abs=1e-5)
    assert np.isnan(scores["y"]["pes"].value)
    assert scores["y"]["pes"].note == "reference silent in no whole frame"
    assert np.isnan(scores["z"]["snr"].value)  # there is no stem, and still there is a score
    pieces = estimate.astype(np.float64).reshape(2, 4, 8000)
    frames = 10 * np.log10((pieces**2).sum(axis=(0, 2)) + 1e-12)
    assert scores["z"]["pes"].value == pytest.approx(np.median(frames), abs=1e-9)
    for stem in "xz":
        found = scorer([ready.blend(stem, {"a": estimate})], "pes")([[1.0]])[0, 0]
        assert found == pytest.approx(scores[stem]["pes"].value, abs=1e-9)
    assert np.isnan(scorer([ready.blend("y", {"a": y})], "pes")([[1.0]])[0, 0])


@pytest.mark.parametrize("gain", [1, 0.5, -2])
def test_a_copy_is_perfect_at_any_level(rng, gain):
    stems = {name: rng.standard_normal((2, 8000)).astype(np.float32) for name in "xy"}
    scores = analyse(stems, 8000).score({"x": np.float32(gain) * stems["x"]})["x"]
    assert scores["si_sir"].value == scores["si_sar"].value == np.inf


def test_a_silent_estimate_has_no_si_score(rng):
    stems = {name: rng.standard_normal((2, 8000)).astype(np.float32) for name in "xy"}
    scores = analyse(stems, 8000, metrics=["si_sir", "si_sar", "pes"]).score(
        {"x": np.zeros_like(stems["x"])}
    )["x"]
    assert scores["si_sir"].value == scores["si_sar"].value == -np.inf


def test_products_are_written_with_their_references(rng, tmp_path):
    stems = {name: rng.standard_normal((2, 8000)).astype(np.float32) for name in "xy"}
    systems = {name: rng.standard_normal((2, 8000)).astype(np.float32) for name in "abc"}
    blend = analyse(stems, 8000).blend("y", systems)
    write_blends(tmp_path / "b.npz", {"y": blend})
    again = read_blends(tmp_path / "b.npz")["y"]
    weights = rng.dirichlet(np.ones(3), 4)
    assert again.sources == ("y", "x")
    for name in FREE:
        assert scorer([again], name)(weights) == pytest.approx(scorer([blend], name)(weights))
    some = again.only(["c", "a"])
    expected = scorer([blend], "si_sir")([[0.3, 0, 0.7]])
    assert scorer([some], "si_sir")([[0.7, 0.3]]) == pytest.approx(expected, abs=1e-9)


def test_files_of_earlier_versions_score_what_they_can(rng, tmp_path):
    stems = {name: rng.standard_normal((2, 8000)).astype(np.float32) for name in "xy"}
    blend = analyse(stems, 8000).blend("x", {"a": stems["x"] + stems["y"]})
    write_blends(tmp_path / "new.npz", {"x": blend})
    with np.load(tmp_path / "new.npz") as file:
        new = ("sources", *products.OF_SOURCES)
        kept = {k: v for k, v in file.items() if k.split("/")[1] not in new}
    np.savez(tmp_path / "old.npz", **kept)
    old = read_blends(tmp_path / "old.npz")["x"]
    assert "snr" in old.metrics
    assert not {"si_sir", "si_sar"} & set(old.metrics)
    with pytest.raises(HarnessError, match="earlier versions"):
        bleed.levels(old)


def test_bands_are_scored_as_their_sum(rng):
    stems = {name: rng.standard_normal((2, 8000)).astype(np.float32) for name in "xy"}
    systems = {n: stems["x"] + rng.standard_normal((2, 8000)).astype(np.float32) for n in "ab"}
    ready = analyse(stems, 8000)
    cut = ready.blend("x", systems, edges=[1000.0])
    whole = ready.blend("x", systems)
    for name in FREE:
        assert scorer([cut], name)([[0.3, 0.7, 0.3, 0.7]]) == pytest.approx(
            scorer([whole], name)([[0.3, 0.7]]), abs=1e-4
        )


def test_one_separator_scores_from_products_as_from_its_audio(tracks, rng):
    references = next(iter(tracks.values()))
    ready = analyse(references, RATE, metrics=())
    systems = {name: estimates_of(references, rng) for name in "ab"}
    near = references["drums"] + np.float32(1e-4) * references["bass"]
    silent = np.zeros_like(near)
    given = {**{name: found["drums"] for name, found in systems.items()}, "near": near, "0": silent}
    blend = ready.blend("drums", given)
    names = (*FREE, "pes")
    for separator in "ab":
        true = ready.score({"drums": given[separator]}, metrics=names)["drums"]
        for name in names:
            found = blend.score_of(separator, name)
            assert found is not None
            assert found.value == pytest.approx(true[name].value, abs=1e-6, nan_ok=True)
            assert found.note == true[name].note
    assert blend.score_of("near", "sd_sdr") is None  # 80 dB: its digits cancel
    silence = blend.score_of("0", "snri")
    true = ready.score({"drums": silent}, metrics=["snri"])["drums"]["snri"]
    assert silence is not None
    assert (silence.value, silence.note) == (pytest.approx(true.value, abs=1e-6), true.note)
    assert blend.score_of("a", "onset_f") is None
