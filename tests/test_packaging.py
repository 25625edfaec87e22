"""The two lists of dependencies, for checkouts and for installs, say the same."""

from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib")  # Python 3.11
ROOT = Path(__file__).resolve().parents[1]


def read_requirements(name: str) -> set[str]:
    lines = (line.strip() for line in (ROOT / name).read_text().splitlines())
    return {line for line in lines if line and not line.startswith(("#", "-r"))}


@pytest.mark.parametrize(
    ("file", "extras"),
    [
        ("requirements.txt", ["plot"]),
        ("requirements-dev.txt", ["dev", "export", "openvino", "geo", "supervision"]),
    ],
)
def test_requirements_are_those_of_pyproject(file, extras):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    expected = {name for extra in extras for name in project["optional-dependencies"][extra]}
    if file == "requirements.txt":
        expected |= set(project["dependencies"])
    assert read_requirements(file) == expected


def test_every_module_is_packaged():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(setup["py-modules"]) == {path.stem for path in ROOT.glob("*.py")}


def test_every_package_is_packaged():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    files = [path for path in ROOT.glob("*/**/__init__.py") if "tests" not in path.parts]
    inside = {".".join(path.parent.relative_to(ROOT).parts) for path in files}
    assert set(setup["packages"]) == inside
