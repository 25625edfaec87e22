"""Initial backbone weights: from every layout of file that users have, and from none."""

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


def load(model: CTRBOX, source) -> None:
    load_pretrained(model.base_network, model.backbone, source)


def same(model: CTRBOX, state: dict[str, torch.Tensor]) -> bool:
    own = model.base_network.state_dict()
    state = canonical_keys(state)
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


@pytest.fixture(scope="module")
def theirs() -> dict[str, dict[str, torch.Tensor]]:
    """State dicts of torchvision's models, classifier included."""
    return {
        "resnet18": torchvision.models.resnet18(weights=None).state_dict(),
        "mobilenetv2": torchvision.models.mobilenet_v2(weights=None).state_dict(),
        "mobilenet_v3_large": torchvision.models.mobilenet_v3_large(weights=None).state_dict(),
        "efficientnet_b0": torchvision.models.efficientnet_b0(weights=None).state_dict(),
    }


def test_classic_mobilenetv2_file(shared):
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
@pytest.mark.slow
def test_file_layouts(backbone, layout, theirs, tmp_path):
    torch.save(LAYOUTS[layout](theirs[backbone]), tmp_path / "w.pth")
    model = new(backbone)
    load(model, tmp_path / "w.pth")
    expected = theirs[backbone]
    if layout == "half precision":
        expected = {
            key: value.half().float() if value.is_floating_point() else value
            for key, value in expected.items()
        }
    assert same(model, expected)


@pytest.mark.parametrize("backbone", ["mobilenet_v3_large", "efficientnet_b0"])
def test_file_of_torchvision(backbone, theirs, tmp_path):
    torch.save(theirs[backbone], tmp_path / "w.pth")
    model = new(backbone)
    load(model, tmp_path / "w.pth")
    assert same(model, theirs[backbone])


@pytest.mark.slow
def test_weights_of_another_backbone(theirs, tmp_path):
    torch.save(theirs["mobilenetv2"], tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: not .* resnet18.* backbone=mobilenetv2"):
        load(new("resnet18"), tmp_path / "w.pth")


def test_other_weights_list_the_differences(theirs, tmp_path):
    state = dict(theirs["resnet18"])
    state.pop("layer1.0.bn1.bias")
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)  # for gray images
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"missing: layer1.0.bn1.bias; .*\[64, 3, 7, 7\] expected"):
        load(new("resnet18"), tmp_path / "w.pth")


def test_detector_weights_point_to_finetune(tmp_path):
    torch.save({"model_state_dict": new("resnet18").state_dict()}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"whole detector.* use finetune"):
        load(new("resnet18"), tmp_path / "w.pth")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"w\.pth: no such file"):
        load(new("resnet18"), tmp_path / "w.pth")


def test_imagenet_without_network_lists_alternatives(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # an empty cache
    monkeypatch.setattr("torch.hub.urlopen", offline)
    with pytest.raises(InputError, match=r"no route to host.*as `pretrained`.*`pretrained` none"):
        CTRBOX(HEADS, True, 4, 1, 8, backbone="resnet18")


def test_imagenet_weights_from_the_cache(monkeypatch, tmp_path, theirs):
    weights = torchvision.models.get_weight(BACKBONES["resnet18"].imagenet)
    cache = tmp_path / "hub/checkpoints"
    cache.mkdir(parents=True)
    torch.save(theirs["resnet18"], cache / weights.url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = new("resnet18")
    load(model, "imagenet")
    assert same(model, theirs["resnet18"])


def test_backbone_without_imagenet_weights(monkeypatch):
    row = BACKBONES["resnet18"]
    monkeypatch.setitem(BACKBONES, "mine", Backbone(row.build, row.channels))
    with pytest.raises(InputError, match="no ImageNet weights for mine"):
        load(new("mine"), "imagenet")


def test_source_none_changes_nothing():
    model = new("resnet18")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    load(model, "none")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
