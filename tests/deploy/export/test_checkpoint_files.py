"""Checkpoints with the weights alone."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from deploy.detector import Detector
from helpers.paths import ROOT
from helpers.small_exports import CONF, SIZE_HW, sharp_model
from main import main
from models import Checkpoint, load_model, read_checkpoint, save_checkpoint

pytestmark = pytest.mark.slow  # exports networks


@pytest.fixture
def trained(sharp_folder, tmp_path):
    """Return a checkpoint in the middle of a training, with paths of the machine in it."""
    model = sharp_model(head_bn=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0)
    sum(one.sum() for one in model.parameters()).backward()
    optimizer.step()  # the optimizer has a state from now on
    path = tmp_path / "run.pth"
    extras = {
        "data": {"depth": "high_byte", "bands": "3,2,1", "scale": 0.65, "list": "/home/secret"},
        "train_state_dict": model.state_dict(),
    }
    save_checkpoint(path, Checkpoint.of(model, epoch=7, optimizer=optimizer, history=[{"loss": 1}],
                                        extras=extras))  # fmt: skip
    return path


def run_export(sharp_folder, weights, *flags):
    return main(["--phase", "export", "--format", "checkpoint", "--weights", str(weights),
                 "--source", str(sharp_folder / "images"), "--conf_thresh", str(CONF),
                 *flags])  # fmt: skip


def test_weights_alone(sharp_folder, trained, capsys):
    assert run_export(sharp_folder, trained) == 0
    out = capsys.readouterr().out
    assert re.search(r"parity on 4 images .*: [1-9]\d* of \d+ detections matched", out)
    path = trained.with_name("run_weights.pth")
    assert sorted(one.name for one in path.parent.iterdir()) == ["run.pth", "run_weights.pth"]
    assert b"secret" in trained.read_bytes() and b"secret" not in path.read_bytes()
    assert path.stat().st_size < 0.4 * trained.stat().st_size
    file, source = read_checkpoint(path), read_checkpoint(trained)
    assert (file.epoch, file.classes, file.input_size) == (7, source.classes, SIZE_HW)
    assert file.architecture == source.architecture and file.reading == source.reading
    assert file.train_scale == source.train_scale == Detector.load(path).train_scale == 0.65
    assert file.optimizer_state is None and not file.history
    assert file.model_state.keys() == source.model_state.keys()
    for name, value in file.model_state.items():
        assert torch.equal(value, source.model_state[name])


def test_it_needs_no_package_of_the_extra(sharp_folder, trained):
    """They are hidden from a process of its own, as they may be imported here by now."""
    words = ["--phase", "export", "--format", "checkpoint", "--weights", str(trained),
             "--source", str(sharp_folder / "images/0.png"), "--threads", "1"]  # fmt: skip
    hidden = ("onnx", "onnxruntime", "onnxscript")
    code = f"""
import sys
sys.modules.update(dict.fromkeys({hidden!r}))
sys.path.insert(0, {str(ROOT)!r})
from main import main
words = {words!r}
assert main(words) == 0
assert main([*words, "--format", "torch"]) == 2
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "run_weights.pth: " in done.stdout
    assert re.fullmatch(
        r"error: .*export needs onnx.*: pip install -e '.\[export\]'\n", done.stderr
    )


def test_half(sharp_folder, trained, tmp_path, capsys):
    path = tmp_path / "half.pth"
    assert run_export(sharp_folder, trained, "--half", "--output", str(path)) == 0
    assert "half.pth: " in capsys.readouterr().out
    assert path.stat().st_size < 0.2 * trained.stat().st_size
    content = torch.load(path, weights_only=True)["model_state_dict"]
    assert {value.dtype for value in content.values()} == {torch.float16, torch.int64}
    model = load_model(path)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    expected = load_model(trained).state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-6)
    image = sharp_folder / "images/0.png"
    found, wanted = (Detector.load(one, conf_thresh=CONF).detect(image) for one in (path, trained))
    assert abs(len(found) - len(wanted)) <= 2 and len(wanted) > 2


def test_weights_beyond_float16_are_refused(sharp_folder, trained, tmp_path, capsys):
    model = load_model(trained)
    with torch.no_grad():
        model.wh[0].weight[0, 0, 0, 0] = 1e6
    save_checkpoint(trained, Checkpoint.of(model))
    path = tmp_path / "half.pth"
    assert run_export(sharp_folder, trained, "--half", "--output", str(path)) == 2
    assert "not finite" in capsys.readouterr().err and not path.exists()


def test_the_checkpoint_of_a_training_is_not_replaced(sharp_folder, trained, tmp_path, capsys):
    """It has the state of the optimizer, without which the run cannot be resumed."""
    model = load_model(trained)
    state = torch.optim.Adam(model.parameters()).state_dict()
    last = tmp_path / "model_last.pth"
    save_checkpoint(last, replace(Checkpoint.of(model), optimizer_state=state))
    before = last.read_bytes()
    assert run_export(sharp_folder, trained, "--output", str(last)) == 2
    assert "from which a training can be resumed" in capsys.readouterr().err
    assert last.read_bytes() == before
    save_checkpoint(last, Checkpoint.of(model))  # but weights alone are
    assert run_export(sharp_folder, trained, "--output", str(last)) == 0


def test_the_checkpoint_itself_is_not_replaced(sharp_folder, trained, capsys):
    before = trained.read_bytes()
    assert run_export(sharp_folder, trained, "--output", str(trained)) == 2
    assert "would replace" in capsys.readouterr().err and trained.read_bytes() == before
