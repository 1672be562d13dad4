"""The public API: what `import harness` offers, and the example of its page."""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_run import demo_run

import harness
from harness.results.runs import write_run

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_example_of_the_page_runs(tmp_path):
    write_run(tmp_path, demo_run(12))
    failed, attempted = doctest.testfile(
        str(PAGE), module_relative=False, globs={"folder": tmp_path}, optionflags=doctest.ELLIPSIS
    )
    assert attempted > 20
    assert not failed


@pytest.mark.parametrize("name", harness.__all__)
def test_every_public_name_is_there_and_on_the_page(name):
    assert getattr(harness, name) is not None
    page = PAGE.read_text()
    assert f"`{name}`" in page or f'heading: "{name}"' in page


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, harness; print({'numpy', 'torch', 'pandas'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'separat'"):
        getattr(harness, "separat")  # noqa: B009
