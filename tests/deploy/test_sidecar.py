"""The JSON beside an exported file: what it holds, and when it does not fit."""

import hashlib
import json

import pytest

from deploy.digest import ONNX_KEY, onnx_digest
from deploy.metadata import read_onnx_metadata
from deploy.sidecar import refuse_foreign_sidecar, sidecar_path, write_sidecar
from DOTA_devkit.errors import InputError
from helpers.fixed_output_onnx import NAMES, PROPS, onnx_file


@pytest.fixture
def file(tmp_path):
    """Return an exported file with a digest, and write its JSON."""
    path = onnx_file(tmp_path / "ship.onnx")
    onnx_file(path, {**PROPS, ONNX_KEY: onnx_digest(path.read_bytes())})
    write_sidecar(path, {})
    return path


def warnings(caplog, file):
    caplog.clear()
    read_onnx_metadata(file)
    return [one.getMessage() for one in caplog.records]


def test_keys_and_texts_of_the_file(file, caplog):
    path = file.with_name("ship.onnx.json")
    assert sidecar_path(file) == path
    content = json.loads(path.read_text(encoding="utf-8"))
    digest = content.pop("file_sha256")
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert content.pop(ONNX_KEY) == onnx_digest(file.read_bytes())
    assert content == PROPS and json.loads(content["classes"]) == list(NAMES)
    assert warnings(caplog, file) == []
    path.unlink()
    assert warnings(caplog, file) == []  # files of earlier versions have none


def test_classes_are_readable_text(tmp_path):
    path = onnx_file(tmp_path / "a.onnx", {**PROPS, "classes": '["\u8239"]'})
    write_sidecar(path, {})
    text = sidecar_path(path).read_text(encoding="utf-8")
    assert json.loads(json.loads(text)["classes"]) == ["\u8239"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", "null", '{"bbavectors": "1"}', "[" * 100_000, b"\xff\xfe"],
)
def test_damaged_or_foreign_json(file, caplog, text):
    path = sidecar_path(file)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = path.read_bytes()
    (message,) = warnings(caplog, file)
    assert message.startswith(f"{path}: damaged, or not the metadata of {file}")
    with pytest.raises(InputError, match=r"would replace .*ship\.onnx\.json, which is not"):
        refuse_foreign_sidecar(file)
    assert path.read_bytes() == before


def test_json_of_another_export(file, caplog):
    content = json.loads(sidecar_path(file).read_text(encoding="utf-8"))
    sidecar_path(file).write_text(json.dumps({**content, "conf_thresh": "0.5", "K": "9"}))
    (message,) = warnings(caplog, file)
    assert "(conf_thresh, K differ)" in message
    sidecar_path(file).write_text(json.dumps({**content, ONNX_KEY: "0" * 64}))
    (message,) = warnings(caplog, file)
    assert f"({ONNX_KEY} differs)" in message
    refuse_foreign_sidecar(file)  # an export may replace it


def test_folder_in_the_place_of_the_json(file):
    sidecar_path(file).unlink()
    sidecar_path(file).mkdir()
    with pytest.raises(InputError, match="would replace"):
        refuse_foreign_sidecar(file)
