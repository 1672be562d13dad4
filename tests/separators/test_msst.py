"""Networks of the MSS-Training tool: from a configuration and a checkpoint to estimates."""

import pytest

RATE = 8000
AUDIO = {"chunk_size": 4000, "num_channels": 2, "sample_rate": RATE, "min_mean_abs": 0.001}
TRAINING = {
    "instruments": ["vocals", "other"], "target_instrument": "vocals", "lr": 1e-5, "use_amp": True,
}  # fmt: skip
FOUR = {"instruments": ["drums", "bass", "other", "vocals"], "target_instrument": None, "lr": 1e-5}
INFERENCE = {"batch_size": 1, "num_overlap": 2, "dim_t": 256}
TRANSFORMER = {
    "dim": 16, "depth": 2, "stereo": True, "num_stems": 1, "dim_head": 8, "heads": 2,
    "attn_dropout": 0, "ff_dropout": 0.0, "flash_attn": True, "stft_n_fft": 256,
    "stft_hop_length": 100, "stft_win_length": 256, "stft_normalized": False,
    "mask_estimator_depth": 2, "multi_stft_resolution_loss_weight": 1.0,
    "multi_stft_resolutions_window_sizes": (512, 256), "multi_stft_hop_size": 147,
    "multi_stft_normalized": False,
}  # fmt: skip
ROFORMER = {**TRANSFORMER, "time_transformer_depth": 1, "freq_transformer_depth": 1}
CONFORMER = {**TRANSFORMER, "time_conformer_depth": 1, "freq_conformer_depth": 1}
MEL = {"num_bands": 12, "sample_rate": RATE}
BANDS = {"freqs_per_bands": (*(4,) * 16, *(16,) * 4, 1)}
SPECTRUM = {"dim_f": 128, "hop_length": 64, "n_fft": 256}
UNET = {
    "act": "gelu", "bottleneck_factor": 2, "growth": 8, "norm": "InstanceNorm",
    "num_blocks_per_scale": 1, "num_channels": 8, "num_scales": 2, "num_subbands": 2,
    "scale": (2, 2),
}  # fmt: skip
SCNET = {
    "sources": FOUR["instruments"], "audio_channels": 2, "dims": [4, 8, 16], "nfft": 256,
    "hop_size": 64, "win_size": 256, "normalized": True, "band_SR": [0.175, 0.392, 0.433],
    "band_stride": [1, 4, 16], "band_kernel": [3, 4, 16], "conv_depths": [2, 1, 1], "compress": 4,
    "conv_kernel": 3, "num_dplayer": 2, "expand": 1,
}  # fmt: skip
BANDIT = {
    "stems": ["speech", "music"], "n_bands": 8, "fs": RATE, "require_no_overlap": False,
    "require_no_gap": True, "normalize_channel_independently": False,
    "treat_channel_as_feature": True, "n_sqm_modules": 1, "emb_dim": 8, "rnn_dim": 8,
    "bidirectional": True, "rnn_type": "GRU", "mlp_dim": 16, "hidden_activation": "Tanh",
    "hidden_activation_kwargs": None, "complex_mask": True, "n_fft": 256, "win_length": 256,
    "hop_length": 64, "window_fn": "hann_window", "wkwargs": None, "power": None, "center": True,
    "normalized": True, "pad_mode": "constant", "onesided": True,
}  # fmt: skip
DEMUCS = {
    "channels": 8, "channels_time": None, "growth": 2, "nfft": 512, "wiener_iters": 0,
    "end_iters": 0, "wiener_residual": False, "cac": True, "depth": 3, "rewrite": True,
    "multi_freqs": [], "multi_freqs_depth": 2, "freq_emb": 0.2, "emb_scale": 10,
    "emb_smooth": True, "kernel_size": 8, "stride": 4, "time_stride": 2, "context": 1,
    "context_enc": 0, "norm_starts": 4, "norm_groups": 4, "dconv_depth": 1,
    "dconv_comp": 4, "dconv_init": 1e-3, "rescale": 0.1,
}  # fmt: skip


def config(model, training=TRAINING, section="model", **audio):
    return {
        "audio": {**AUDIO, **audio}, section: model, "training": training, "inference": INFERENCE,
        "augmentations": {"mixup_probs": (0.2, 0.02)},
    }  # fmt: skip


def demucs(name, **model):
    training = {**FOUR, "samplerate": RATE, "segment": 0.5, "channels": 2, "normalize": True}
    found = config(name, training)
    return found | {name: {**DEMUCS, **model}}


APOLLO = {"instruments": ["restored", "addition"], "target_instrument": "restored"}
SPEECH = {"instruments": ["speech", "music"], "target_instrument": None}
CONFIGS = {
    "mel_band_roformer": config({**ROFORMER, **MEL}),
    "mel_band_conformer": config({**CONFORMER, **MEL}),
    "bs_roformer": config({**ROFORMER, **BANDS}),
    "bs_conformer": config({**CONFORMER, **BANDS}),
    "mdx23c": config(UNET, FOUR, chunk_size=4032, **SPECTRUM),
    "scnet": config(SCNET, FOUR),
    "bandit": config(
        {**BANDIT, "in_channel": 1, "band_specs": "musical", "n_fft": 2048, "win_length": 2048,
         "hop_length": 512},  # the only sizes of the tool's class, whatever the configuration says
        SPEECH,
    ),
    "bandit_v2": config({**BANDIT, "in_channels": 1, "band_type": "musical"}, SPEECH, "kwargs"),
    "apollo": config({"sr": RATE, "win": 20, "feature_dim": 16, "layer": 1}, APOLLO),
    "htdemucs": demucs("htdemucs", num_subbands=1, t_layers=2, t_heads=2, bottom_channels=16),
    "hdemucs": demucs("hdemucs", hybrid=True, depth=5, channels=4, nfft=1024),
    "moises_light": config(
        {"sources": FOUR["instruments"], "audio_channels": 2, "n_fft": 256, "hop_size": 64,
         "win_size": 256, "freq_dim": 128, "n_bands": 4, "G": 8, "n_enc": 1, "n_dec": 1,
         "n_split_enc": 1, "n_split_dec": 1, "n_rope": 1, "bn_factor": 2,
         "transformer_params": {"heads": 2, "dim_head": 8, "flash_attn": True}},
        FOUR,
    ),
    "mel_band_roformer_experimental": config({**ROFORMER, **MEL}),
    "bs_roformer_experimental": config({**ROFORMER, **BANDS}),
    "scnet_tran": config({**SCNET, "tran_depth": 1, "tran_heads": 2, "tran_dim_head": 8,
                          "tran_rotary_embedding_dim": 8, "tran_flash_attn": False}, FOUR),
    "scnet_masked": config(SCNET, FOUR),
    "experimental_mdx23c_stht": config(UNET, FOUR, chunk_size=4032, **SPECTRUM),
}  # fmt: skip
