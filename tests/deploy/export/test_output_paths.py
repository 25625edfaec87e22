"""Where an exported file cannot be written is told before images are read or drawn."""

import pytest

from deploy.export.pipeline import export
from deploy.export.settings import ExportSettings
from DOTA_devkit.errors import InputError
from helpers.networks import save_untrained, tiny_model
from main import main


def not_called():
    raise AssertionError("images are read")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("checkpoint", "a.onnx", "must end in .pth (format onnx writes .onnx)"),
        ("torch", "a", "must end in .pt2"),
        ("onnx", "folder.onnx", "expected a file, but this is a folder"),
        ("openvino", "second.xml", "would be written together with"),
        ("onnx", "foreign.onnx", "would replace"),
    ],
)
def test_output_is_checked_first(tmp_path, kind, name, message):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "second.bin").write_text("")
    (tmp_path / "foreign.onnx.json").write_text("{}")
    settings = ExportSettings(kind, int8=kind == "onnx")
    with pytest.raises(InputError) as error:
        export(tiny_model(), tmp_path / name, settings, not_called, not_called)
    assert message in str(error.value)


def test_no_sample_set_is_drawn_for_a_wrong_output(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_untrained(tmp_path / "model.pth")
    words = ["--phase", "export", "--format", "checkpoint", "--weights", "model.pth"]
    assert main([*words, "--output", "a.xml"]) == 2
    assert "must end in .pth (format openvino writes .xml)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]
