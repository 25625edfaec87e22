"""The backbone's first weights, from every file that users bring and from none."""

import urllib.error

import pytest
import torch
import torchvision

from DOTA_devkit.errors import InputError
from models import BACKBONES, CTRBOX, Backbone, load_pretrained
from models.state_keys import canonical_keys

HEADS = {"hm": 3, "wh": 10, "reg": 2, "cls_theta": 1}


def new(backbone: str) -> CTRBOX:
    return CTRBOX(HEADS, None, 4, 1, 8, backbone=backbone)


def same(model: CTRBOX, state: dict[str, torch.Tensor]) -> bool:
    own = model.base_network.state_dict()
    state = canonical_keys(state)
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


@pytest.fixture(scope="module")
def theirs() -> dict[str, dict[str, torch.Tensor]]:
    """State dicts as torchvision has them, classifier included."""
    return {
        "resnet18": torchvision.models.resnet18(weights=None).state_dict(),
        "mobilenetv2": torchvision.models.mobilenet_v2(weights=None).state_dict(),
    }


def test_the_classic_file_at_hand(shared):
    path = shared / "weights/mobilenet_v2_imagenet.pth"
    model = CTRBOX(HEADS, str(path), 4, 1, 8, backbone="mobilenetv2")
    state = torch.load(path, weights_only=True)
    assert torch.equal(
        model.base_network.features[17].conv[6].weight, state["features.17.conv.6.weight"]
    )
    assert same(model, state)


LAYOUTS = {
    "as torchvision saves it": lambda state: state,
    "without the classifier": lambda state: {
        key: value for key, value in state.items() if not key.startswith(("fc.", "classifier."))
    },
    "in a training script's dict": lambda state: {"state_dict": state, "epoch": 90},
    "from DataParallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "before counters": lambda state: {
        key: value for key, value in state.items() if "num_batches" not in key
    },
    "half precision": lambda state: {
        key: value.half() if value.is_floating_point() else value for key, value in state.items()
    },
}


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(backbone, layout, theirs, tmp_path):
    torch.save(LAYOUTS[layout](theirs[backbone]), tmp_path / "w.pth")
    model = new(backbone)
    load_pretrained(model, tmp_path / "w.pth")
    expected = theirs[backbone]
    if layout == "half precision":
        expected = {
            key: value.half().float() if value.is_floating_point() else value
            for key, value in expected.items()
        }
    assert same(model, expected)


def test_weights_of_another_backbone_name_the_flag(theirs, tmp_path):
    torch.save(theirs["mobilenetv2"], tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: not .* resnet18.* --backbone mobilenetv2"):
        load_pretrained(new("resnet18"), tmp_path / "w.pth")


def test_weights_of_something_else_name_what_differs(theirs, tmp_path):
    state = dict(theirs["resnet18"])
    state.pop("layer1.0.bn1.bias")
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)  # for grey images
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"missing: layer1.0.bn1.bias; .*\[64, 3, 7, 7\] expected"):
        load_pretrained(new("resnet18"), tmp_path / "w.pth")


def test_a_detector_is_for_finetune(tmp_path):
    torch.save({"model_state_dict": new("resnet18").state_dict()}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="--finetune"):
        load_pretrained(new("resnet18"), tmp_path / "w.pth")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"w\.pth: no such file"):
        load_pretrained(new("resnet18"), tmp_path / "w.pth")


def test_without_a_network_the_error_names_the_ways_on(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # an empty cache
    monkeypatch.setattr("torch.hub.urlopen", offline)
    with pytest.raises(InputError, match=r"no route to host.*--pretrained FILE.*--pretrained none"):
        CTRBOX(HEADS, True, 4, 1, 8, backbone="resnet18")


def test_imagenet_weights_come_from_the_cache_where_they_are(monkeypatch, tmp_path, theirs):
    weights = BACKBONES["resnet18"].imagenet
    cache = tmp_path / "hub/checkpoints"
    cache.mkdir(parents=True)
    torch.save(theirs["resnet18"], cache / weights.url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = new("resnet18")
    load_pretrained(model, "imagenet")
    assert same(model, theirs["resnet18"])


def test_a_backbone_without_imagenet_weights(monkeypatch):
    row = BACKBONES["resnet18"]
    monkeypatch.setitem(BACKBONES, "mine", Backbone(row.build, row.channels))
    with pytest.raises(InputError, match="no ImageNet weights of mine"):
        load_pretrained(new("mine"), "imagenet")


def test_none_changes_nothing():
    model = new("resnet18")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    load_pretrained(model, "none")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
