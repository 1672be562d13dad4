import itertools

import numpy as np
import pytest
import torch
from torch import nn

from harness.benchmark.meter import Meter
from harness.core.errors import HarnessError
from harness.separators import Separator, checkpoints, progress
from harness.separators.chunked import plan_chunks, separate_chunked
from harness.separators.learned import Learned, load_network
from harness.separators.networks import NETWORKS

ROUNDING = 1e-6  # of full scale: sums of the same numbers in another order
CASES = [(1, 5), (5, 5), (6, 5), (9, 5), (23, 7), (1000, 64), (1024, 64), (1001, 1000)]
OVERLAPS = [0.0, 0.25, 0.5, 0.9]


def noise(channels, samples, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (channels, samples)).astype(np.float32)


class Shares(nn.Module):
    """Gives fixed shares of the mixture, and counts what it is asked."""

    stems = ("a", "b")

    def __init__(self, limit=10**9, broken=None):
        super().__init__()
        self.limit, self.broken, self.shapes = limit, broken, []

    def forward(self, mixture):
        self.shapes.append(tuple(mixture.shape))
        if len(mixture) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if self.broken:
            raise RuntimeError(self.broken)
        return torch.stack([0.25 * mixture, 0.75 * mixture], dim=1)


# --- the plan ---------------------------------------------------------------------------------
@pytest.mark.parametrize(("case", "overlap"), list(itertools.product(CASES, OVERLAPS)))
def test_weights_sum_to_one_at_every_sample(case, overlap):
    samples, segment = case
    plan = plan_chunks(samples, segment, overlap)
    total = np.zeros(samples)
    for i, start in enumerate(plan.starts):
        total[start : start + plan.length] += plan.weights(i).double().numpy()
    assert np.abs(total - 1).max() < 1e-6
    assert all(plan.weights(i).min() > 0 for i in range(len(plan.starts)))


@pytest.mark.parametrize(("case", "overlap"), list(itertools.product(CASES, OVERLAPS)))
def test_chunks_cover_the_signal_and_are_full_of_it(case, overlap):
    samples, segment = case
    plan = plan_chunks(samples, segment, overlap)
    assert plan.starts[0] == 0
    assert plan.starts[-1] + plan.length == samples
    assert plan.length == min(samples, segment)
    assert all(0 < b - a <= segment for a, b in itertools.pairwise(plan.starts))


def test_fades_are_linear():
    plan = plan_chunks(1750, 1000, 0.25)
    fade = plan.weights(0)[750:].numpy()
    assert np.allclose(fade, np.arange(250, 0, -1) / 251, atol=1e-6)
    assert (plan.weights(0)[:750] == 1).all()


@pytest.mark.parametrize(("segment", "overlap"), [(0, 0.5), (10, 1.0), (10, -0.1)])
def test_impossible_plans_are_refused(segment, overlap):
    with pytest.raises(HarnessError, match="not possible"):
        plan_chunks(100, segment, overlap)


# --- the engine -------------------------------------------------------------------------------
@pytest.mark.parametrize(("case", "overlap"), list(itertools.product(CASES, OVERLAPS)))
def test_no_seams(case, overlap):
    samples, segment = case
    audio = noise(2, samples)
    estimates, notes = separate_chunked(Shares(), audio, segment=segment, overlap=overlap)
    assert estimates.dtype == np.float32
    assert np.abs(estimates[0] - 0.25 * audio).max() < ROUNDING
    assert np.abs(estimates[1] - 0.75 * audio).max() < ROUNDING
    assert notes == []


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_chunks_are_worked_on_in_batches(batch):
    model = Shares()
    separate_chunked(model, noise(2, 100), segment=20, overlap=0.5, batch=batch)  # 9 chunks
    sizes = [shape[0] for shape in model.shapes]
    assert sum(sizes) == 9
    assert max(sizes) == min(batch, 9)
    assert {shape[1:] for shape in model.shapes} == {(2, 20)}


SMALL = {
    "asnet": {"n_fft": 256, "hop": 128, "bands": 40},
    "scnet": {"n_fft": 256, "hop": 128, "widths": (8, 16, 16), "layers": 2},
    "mel_roformer": {"n_fft": 256, "hop": 128, "bands": 12, "width": 16, "depth": 2},
    "unet": {"n_fft": 256, "hop": 128, "width": 8},
    "simplified_demucs": {"widths": (8, 16, 32), "hidden": 32},
    "htdemucs": {"n_fft": 2048, "width": 8},
    "tasnet": {"filters": 8, "kernel": 8, "narrow": 6, "wide": 8, "blocks": 2},
    "wave_u_net": {"levels": 5, "width": 4},
    "mmdenselstm": {
        "n_fft": 256, "hop": 128, "edges": (30, 70), "growth": (8, 8, 4, 8),
        "layers": ((1, 1, 1), (1, 1), (1, 0), (1, 1, 1)),
    },
}  # fmt: skip


def small(name):
    torch.manual_seed(0)
    return NETWORKS[name](sample_rate=8000, segment=2048, **SMALL[name])


@pytest.mark.parametrize("name", NETWORKS)
def test_estimates_do_not_depend_on_the_batch(name):
    model, audio = small(name), noise(2, 20_000)
    one = separate_chunked(model, audio, segment=2048, batch=1)[0]
    for batch in (2, 3, 8, 50):
        many = separate_chunked(model, audio, segment=2048, batch=batch)[0]
        assert np.abs(one - many).max() < ROUNDING


@pytest.mark.parametrize("name", NETWORKS)
def test_estimates_do_not_depend_on_where_a_chunk_lies(name):
    hop = 1536
    audio = np.tile(noise(2, hop), (1, 9))  # every chunk holds the same
    estimates = separate_chunked(small(name), audio, segment=2048, overlap=0.25)[0]
    middle = estimates[..., hop : -2 * hop].reshape(4, 2, -1, hop)
    assert middle.shape[2] == 6
    assert np.abs(middle - middle[:, :, :1]).max() < ROUNDING
    assert np.abs(estimates).max() > 0.01


def test_two_runs_give_the_same_bits():
    model, audio = small("asnet"), noise(2, 9000)
    runs = [separate_chunked(model, audio, segment=2048, batch=2)[0] for _ in range(2)]
    assert np.array_equal(*runs)


def test_dropout_is_off_and_the_mode_is_given_back():
    model, audio = small("asnet").train(), noise(2, 5000)
    before = [separate_chunked(model, audio, segment=2048)[0] for _ in range(2)]
    assert np.array_equal(*before)
    assert model.training


def test_each_batch_is_told():
    heard: list[float] = []
    with progress.told(heard.append), progress.part(1, 2):
        separate_chunked(Shares(), noise(2, 1000), segment=250, overlap=0.0, batch=2)
    assert heard == [0.75, 1.0]


def test_short_signals_are_padded_for_models_of_one_length_only():
    model, audio = Shares(), noise(1, 30)
    estimates, _ = separate_chunked(model, audio, segment=64, fixed=True)
    assert model.shapes == [(1, 1, 64)]
    assert estimates.shape == (2, 1, 30)
    assert np.abs(estimates.sum(0) - audio).max() < ROUNDING


def test_input_is_not_changed_and_may_be_read_only():
    audio = noise(2, 300)
    copy = audio.copy()
    audio.flags.writeable = False
    separate_chunked(Shares(), audio, segment=100)
    separate_chunked(Shares(), audio[:, ::2], segment=100)
    assert np.array_equal(audio, copy)


# --- when something is short ------------------------------------------------------------------
def test_out_of_memory_halves_the_batch_and_says_so():
    model, audio = Shares(limit=2), noise(2, 400)
    estimates, notes = separate_chunked(model, audio, segment=64, batch=8)
    assert np.abs(estimates.sum(0) - audio).max() < ROUNDING
    assert notes == [
        "out of memory with 8 chunks at once, retried with 4",
        "out of memory with 4 chunks at once, retried with 2",
    ]
    assert {shape[2] for shape in model.shapes} == {64}  # never another segment


def test_out_of_memory_with_one_chunk_on_the_cpu_says_what_to_do():
    with pytest.raises(HarnessError, match="one chunk of 64 samples does not fit"):
        separate_chunked(Shares(limit=0), noise(2, 400), segment=64, batch=2)


def test_what_does_not_fit_on_a_device_moves_to_the_cpu(monkeypatch):
    """A device that is always full, played by the meta device."""
    seen = []

    class Full(Shares):
        def to(self, device):
            seen.append(str(device))
            if str(device) == "meta":
                raise torch.OutOfMemoryError("out of memory")
            return self

    estimates, notes = separate_chunked(Full(), noise(2, 400), segment=64, batch=2, device="meta")
    assert seen == ["meta", "meta", "cpu"]
    assert np.isfinite(estimates).all()
    assert notes[-1] == "out of memory on meta with one chunk, moved to the CPU"


def test_other_errors_are_not_taken_for_lack_of_memory():
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        separate_chunked(Shares(broken="mat1 and mat2 shapes"), noise(2, 400), segment=64)


def test_mixed_precision_elsewhere_than_on_cuda_is_left_out_with_a_note():
    audio = noise(2, 100)
    estimates, notes = separate_chunked(Shares(), audio, segment=64, mixed=True)
    assert notes == ["mixed precision is for CUDA, float32 used"]
    assert np.abs(estimates.sum(0) - audio).max() < ROUNDING


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_an_error(device):
    with pytest.raises(HarnessError, match=f"device '{device}': not usable"):
        separate_chunked(Shares(), noise(2, 100), segment=64, device=device)


def test_output_of_the_wrong_shape_is_an_error():
    with pytest.raises(HarnessError, match=r"Identity: returned shape \(2, 2, 64\)"):
        separate_chunked(nn.Identity(), noise(2, 100), segment=64)


def test_memory_of_ten_minutes_is_little_more_than_that_of_the_estimates():
    rate = 16000
    audio = noise(2, 600 * rate)
    model = Shares()
    separate_chunked(model, audio[:, : 20 * rate], segment=5 * rate)
    with Meter() as meter:
        estimates, _ = separate_chunked(model, audio, segment=5 * rate)
    assert meter.peak_memory < 1.5 * estimates.nbytes  # nothing is kept twice


# --- the separator ----------------------------------------------------------------------------
def checkpoint(path, name="asnet", **options):
    torch.manual_seed(0)
    module = NETWORKS[name](sample_rate=8000, segment=2048, **SMALL[name], **options)
    about = {"network": name, "config": module.config(), "trained_on": []}
    checkpoints.save(path, module, about)
    return module


def test_learned_runs_the_network_of_its_checkpoint(tmp_path):
    module = checkpoint(tmp_path / "a.safetensors")
    separator = Learned(8000, ("drums", "vocals"), weights=[tmp_path / "a.safetensors"])
    assert isinstance(separator, Separator)
    audio = noise(2, 9000)
    wanted = separate_chunked(module, audio, segment=2048, batch=1)[0]
    found = separator.separate(audio)
    assert list(found) == ["drums", "vocals"]
    assert np.array_equal(found["drums"], wanted[module.stems.index("drums")])
    assert np.array_equal(found["vocals"], wanted[module.stems.index("vocals")])
    assert separator.notes == []


def test_learned_joins_networks_of_one_stem_each(tmp_path):
    files = []
    for stem in ("vocals", "drums"):
        files.append(tmp_path / f"{stem}.safetensors")
        checkpoint(files[-1], "unet", stems=(stem,))
    separator = Learned(8000, ("vocals", "drums"), "mixture", weights=files)
    assert {s: e.shape for s, e in separator.separate(noise(2, 500)).items()} == {
        "vocals": (2, 500),
        "drums": (2, 500),
    }
    with pytest.raises(HarnessError, match="both return it"):
        Learned(8000, ("vocals",), weights=[files[0], files[0]])


def test_learned_of_a_batch_is_the_same_to_the_bit_on_a_cpu(tmp_path):
    checkpoint(tmp_path / "a.safetensors")
    audio = noise(2, 9000)
    one, many = (
        Learned(8000, ("bass",), weights=[tmp_path / "a.safetensors"], batch=n).separate(audio)
        for n in (1, 8)
    )
    assert np.array_equal(one["bass"], many["bass"])


def test_learned_takes_chunks_of_the_length_asked_for(tmp_path):
    checkpoint(tmp_path / "a.safetensors")
    separator = Learned(
        8000, ("bass",), weights=[tmp_path / "a.safetensors"], segment_seconds=0.5, overlap=0.5
    )
    lengths = []
    separator.networks[0].register_forward_hook(lambda _, x, __: lengths.append(x[0].shape[2]))
    separator.separate(noise(2, 9000))
    assert set(lengths) == {4000}


def test_learned_refuses_what_does_not_fit(tmp_path):
    path = tmp_path / "a.safetensors"
    module = checkpoint(path)
    with pytest.raises(HarnessError, match="made for 8000 Hz, not 44100"):
        Learned(44100, ("bass",), weights=[path])
    with pytest.raises(HarnessError, match="no 'piano', only bass"):
        Learned(8000, ("bass", "piano"), weights=[path])
    checkpoints.save(path, module, {"network": "asnett", "config": {}})
    with pytest.raises(HarnessError, match="did you mean 'asnet'"):
        load_network(path)
    checkpoints.save(path, module, {"network": "asnet", "config": {"bottleneck": 128}})
    with pytest.raises(HarnessError, match="does not fit the network asnet"):
        load_network(path)
    checkpoints.save(path, module, {"network": "asnet", "config": {"speed": 3}})
    with pytest.raises(HarnessError, match="does not fit the network asnet"):
        load_network(path)
    checkpoints.save(path, module, {})
    with pytest.raises(HarnessError, match="names no network"):
        load_network(path)
