"""pyproject.toml: its dependencies equal the requirements files, and it packages all code."""

import pytest

from helpers.paths import ROOT

tomllib = pytest.importorskip("tomllib")  # Python 3.11
setuptools = pytest.importorskip("setuptools")
NOT_INSTALLED = ("benchmarks", "tests")


def read_requirements(name: str) -> set[str]:
    lines = (line.strip() for line in (ROOT / name).read_text().splitlines())
    return {line for line in lines if line and not line.startswith(("#", "-r"))}


@pytest.mark.parametrize(
    ("file", "extras"),
    [
        ("requirements.txt", ["plot"]),
        (
            "requirements-dev.txt",
            ["dev", "export", "openvino", "geo", "yaml", "supervision", "timm", "tensorboard"],
        ),
    ],
)
def test_requirements_equal_pyproject(file, extras):
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
    found = setuptools.find_packages(str(ROOT), **setup["packages"]["find"])
    files = [path for path in ROOT.glob("*/**/*.py") if "build" not in path.parts]
    folders = {path.parent.relative_to(ROOT) for path in files}
    code = {".".join(folder.parts) for folder in folders if folder.parts[0] not in NOT_INSTALLED}
    assert set(found) == code
