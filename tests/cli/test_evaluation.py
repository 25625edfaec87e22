"""The phases test and eval on the command line: input size, squash, score thresholds."""

import json
from pathlib import Path

import pytest

import test as tester
from helpers.command_line import assert_refused
from helpers.data_folders import picture, write_image
from helpers.networks import save_untrained


def test_other_input_size_is_used_and_logged(run_cli, phase_arguments, data):
    result = run_cli(*phase_arguments("test", data), "--input_h", 96)
    assert result.code == 0 and "input size 96x64; the model was trained at 64x64" in result.out


def test_squash_stretches_the_images(run_cli, writable_data, tmp_path):
    """A letterboxed image has black borders, a stretched one has not."""
    write_image(writable_data / "images" / "im3.png", picture(128, 32))
    file = save_untrained(tmp_path / "x.pth")
    black_shares = []
    original = tester.run_over

    def record_black_share(module, inputs):
        black_shares.append((inputs[0] == -0.5).float().mean())  # -0.5 is black

    def run_over(model, *args):
        model.register_forward_pre_hook(record_black_share)
        return original(model, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tester, "run_over", run_over)
        arguments = ["--phase", "test", "--data_dir", writable_data, "--weights", file]
        assert run_cli(*arguments).code == run_cli(*arguments, "--squash").code == 0
    letterboxed, squashed = black_shares
    assert letterboxed > 0.7 and squashed < 0.1
    assert_refused(run_cli("--phase", "train", "--data_dir", writable_data, "--squash"), "--squash")


@pytest.mark.parametrize("phase, threshold", [("test", "0.18"), ("eval", "0.01")])
@pytest.mark.slow
def test_default_score_thresholds(run_cli, phase_arguments, data, phase, threshold):
    arguments = phase_arguments(phase, data)
    assert f"above {threshold}" in run_cli(*arguments).out
    assert "above 0.3" in run_cli(*arguments, "--conf_thresh", 0.3).out


@pytest.mark.slow
def test_augmentation_is_logged_and_noted(run_cli, phase_arguments, data):
    arguments = phase_arguments("eval", data)
    plain = run_cli(*arguments)
    assert plain.code == 0 and "augmentation" not in plain.out
    scores = Path("result_dota/Task1_plane.txt").read_text()
    result = run_cli(*arguments, "--tta")
    assert result.code == 0
    assert "test-time augmentation: 4 views of each image (flips)" in result.out
    assert json.loads(Path("result_dota/ap.json").read_text())["settings"]["tta"] == "flips"
    assert Path("result_dota/Task1_plane.txt").read_text() != scores
    assert_refused(run_cli(*arguments, "--tta", "flip"), "--tta", "did you mean flips?")


@pytest.mark.slow
def test_score_thresholds_of_single_classes(run_cli, phase_arguments, data):
    evaluate = phase_arguments("eval", data)
    result = run_cli(*evaluate, "--conf_thresh", "plane=0.9")
    assert result.code == 0 and "scores above ship 0.01, plane 0.9" in result.out
    scores = json.loads(Path("result_dota/ap.json").read_text())
    assert scores["settings"]["conf_thresh"] == {"ship": 0.01, "plane": 0.9}
    test = phase_arguments("test", data)
    assert "above ship 0.3, plane 0.2 in" in run_cli(*test, "--conf_thresh", "0.3,plane=0.2").out
    kept = Path("result_dota/pictures/im3.jpg").stat()
    for arguments in (evaluate, test):
        result = run_cli(*arguments, "--conf_thresh", "plan=0.4")
        assert_refused(result, "--conf_thresh is given for plan (did you mean plane?)")
    assert Path("result_dota/pictures/im3.jpg").stat() == kept  # nothing was deleted


@pytest.mark.parametrize("phase", ["train", "export"])
def test_phases_with_one_score_threshold(run_cli, phase_arguments, data, phase):
    result = run_cli(*phase_arguments(phase, data), "--conf_thresh", "plane=0.4")
    assert_refused(result, f"--phase {phase} takes one --conf_thresh", "got plane 0.4")
    assert not list(Path().glob("weights_*"))
