"""The Fourier transforms of the engine: PyTorch's, a quarter faster than NumPy's in float64.

PyTorch is imported where it is first used, since that takes seconds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Complex128 = npt.NDArray[np.complex128]


def forward(signals: Float64) -> Complex128:
    """Real FFT along the last axis."""
    import torch

    spectra: Complex128 = torch.fft.rfft(torch.from_numpy(signals)).numpy()
    return spectra


def correlations(product: Float64, n: int) -> Float64:
    """Inverse FFT of length n of conj(E)·X, from the products of real and imaginary parts.

    Parameters
    ----------
    product
        Sums of products, shape (bins, 2·signals, 2·references), re and im side by side.

    Returns
    -------
    ndarray
        Shape (signals, references, n).
    """
    import torch

    bins, signals, references = product.shape[0], product.shape[1] // 2, product.shape[2] // 2
    parts = torch.from_numpy(product).view(bins, signals, 2, references, 2)
    pairs = torch.view_as_complex(parts).permute(2, 1, 3, 0)
    spectra = torch.empty(pairs.shape[1:], dtype=torch.complex128)
    torch.add(pairs[0], pairs[1], alpha=-1j, out=spectra)
    lags: Float64 = torch.fft.irfft(spectra, n=n).numpy()
    return lags
