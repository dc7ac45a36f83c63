"""The distribution: a name of its own, and a version that stands in one place."""

import ast
import configparser
import re
from pathlib import Path

import pytest

import minigrad

ROOT = Path(__file__).parents[1]
METADATA = configparser.ConfigParser()
METADATA.read(ROOT / "setup.cfg", encoding="utf-8")


def test_the_version_is_written_once_as_a_literal_that_setup_cfg_refers_to():
    assert METADATA["metadata"]["version"] == "attr: minigrad.__version__"
    tree = ast.parse((ROOT / "minigrad" / "__init__.py").read_text(encoding="utf-8"))
    (version,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__version__"
    ]
    assert version == minigrad.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_the_distribution_has_a_name_of_its_own_which_the_readme_tells():
    name = METADATA["metadata"]["name"]
    assert name != "minigrad"  # which is another project's
    assert f"`{name}`" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["minigrad", "layers"])
def test_type_checkers_are_told_that_a_package_has_types_also_where_it_is_installed(package):
    assert "py.typed" in METADATA["options.package_data"][package]
    assert (ROOT / package / "py.typed").exists()
