from pathlib import Path

import numpy as np
import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings beside the checkout; tests that need them are skipped where they are not."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real recordings at {SHARED_DATA}")
    return SHARED_DATA
