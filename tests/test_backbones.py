"""The backbone table: one test walks every row; the layouts of MobileNetV2 keys are one network."""

import pytest
import torch
import torchvision

from DOTA_devkit.errors import InputError
from models.backbones import (
    BACKBONES,
    FEATURE_STRIDES,
    add_batch_counters,
    canonical_keys,
    difference_text,
    get_backbone,
    match_backbone,
    nearest_backbone,
    shapes_of,
)
from models.ctrbox_net import CTRBOX
from models.info import describe

HEADS = {"hm": 15, "wh": 10, "reg": 2, "cls_theta": 1}
PUBLISHED = {  # million parameters and GMAC at 608x608, 15 classes
    "resnet101": (72.4, 203.5),
    "resnet18": (13.5, 33.3),
    "mobilenetv2": (2.40, 8.6),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_row_of_the_table(name):
    channels = BACKBONES[name].channels
    with torch.device("meta"):
        model = CTRBOX(HEADS, None, 4, 1, 256, backbone=name)
    info = describe(model, (608, 320))
    assert [feature.shape for feature in info.features] == [
        (1, width, 608 // stride, 320 // stride)
        for width, stride in zip(channels, FEATURE_STRIDES, strict=True)
    ]
    assert [(merge.c_low, merge.c_up) for merge in info.merges] == [
        (channels[3], channels[2]),
        (channels[2], channels[1]),
        (channels[1], channels[0]),
    ]
    assert {head.c_in for head in info.heads} == {channels[0]}
    assert {head.shape[2:] for head in info.heads} == {(152, 80)}
    assert BACKBONES[name].imagenet is not None
    if name in PUBLISHED:
        info = describe(model, (608, 608))
        millions, gmac = PUBLISHED[name]
        assert info.parameters / 1e6 == pytest.approx(millions, abs=0.051)
        assert info.macs / 1e9 == pytest.approx(gmac, abs=0.051)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])
def test_sizes_that_do_not_divide_are_rounded_up(name):
    network = BACKBONES[name].build().eval()
    with torch.no_grad():
        maps = network(torch.zeros(1, 3, 70, 100))
    assert [tuple(feature.shape[2:]) for feature in maps] == [(18, 25), (9, 13), (5, 7), (3, 4)]


def test_torchvision_weights_of_mobilenetv2_give_torchvision_features():
    theirs = torchvision.models.mobilenet_v2(weights=None).eval()
    ours = BACKBONES["mobilenetv2"].build().eval()
    ours.load_state_dict(canonical_keys(theirs.state_dict()))
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for last, feature in zip((3, 6, 13, 17), ours(image), strict=True):
            assert torch.equal(feature, theirs.features[: last + 1](image))


def test_torchvision_weights_of_resnet18_give_torchvision_features():
    theirs = torchvision.models.resnet18(weights=None).eval()
    ours = BACKBONES["resnet18"].build().eval()
    ours.load_state_dict(canonical_keys(theirs.state_dict()))
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        c5 = ours(image)[-1]
        assert torch.equal(theirs.fc(c5.mean((2, 3))), theirs(image))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("features.0.0.weight", "features.0.0.weight"),  # the stem is the same in both layouts
        ("features.1.conv.0.0.weight", "features.1.conv.0.weight"),  # depthwise, without expansion
        ("features.1.conv.0.1.running_var", "features.1.conv.1.running_var"),
        ("features.1.conv.1.weight", "features.1.conv.3.weight"),  # the linear convolution
        ("features.1.conv.2.bias", "features.1.conv.4.bias"),
        ("features.2.conv.1.0.weight", "features.2.conv.3.weight"),  # depthwise, after expansion
        ("features.2.conv.2.weight", "features.2.conv.6.weight"),
        ("features.2.conv.3.bias", "features.2.conv.7.bias"),
        ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),  # of another backbone
    ],
)
def test_nested_keys_become_flat(theirs, ours):
    units = ("features.1.conv.0.0.weight", "features.2.conv.0.0.weight")
    units += ("features.2.conv.1.0.weight",)
    state = dict.fromkeys((*units, theirs), 0)
    state[theirs] = 1
    assert [key for key, value in canonical_keys(state).items() if value == 1] == [ours]


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["features.2.conv.6.weight", "features.2.conv.7.bias"],  # flat already
    ],
)
def test_keys_that_stay(keys):
    assert list(canonical_keys(dict.fromkeys(keys, 0))) == keys


def test_what_a_detector_does_not_use_is_dropped():
    unused = ["fc.weight", "classifier.1.bias", "features.18.1.running_mean"]
    assert canonical_keys(dict.fromkeys(unused, 0)) == {}


def test_counters_are_added_where_batch_norm_lacks_them():
    state = {"bn.running_var": torch.ones(2), "a.running_var": torch.ones(2)}
    state["a.num_batches_tracked"] = torch.tensor(7)
    state = add_batch_counters(state)
    assert state["bn.num_batches_tracked"].item() == 0
    assert state["a.num_batches_tracked"].item() == 7


def test_an_unknown_backbone_names_the_known():
    with pytest.raises(InputError, match=r"'vgg'.*resnet18, .*mobilenetv2"):
        get_backbone("vgg")


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_are_told_apart_by_keys_and_shapes(name):
    with torch.device("meta"):
        shapes = shapes_of(BACKBONES[name].build().state_dict())
    assert match_backbone(shapes) == name
    key, shape = shapes.popitem()
    assert match_backbone(shapes) is None
    assert nearest_backbone(shapes) == (name, f"missing: {key}")
    shapes[key] = (*shape, 5)
    assert nearest_backbone(shapes)[0] == name
    assert key in nearest_backbone(shapes)[1]


def test_the_file_decides_between_backbones_with_the_same_keys(monkeypatch):
    monkeypatch.setitem(BACKBONES, "resnet18_again", BACKBONES["resnet18"])
    with torch.device("meta"):
        shapes = shapes_of(BACKBONES["resnet18"].build().state_dict())
    assert match_backbone(shapes) == "resnet18"
    assert match_backbone(shapes, preferred="resnet18_again") == "resnet18_again"
    assert match_backbone(shapes, preferred="resnet101") == "resnet18"  # it cannot be


def test_differences_in_words():
    expected = {"a": (1,), "b": (2,), "c": (3,), "d": (4,), "e": (5, 1)}
    found = {"e": (5, 2), "x": (1,)}
    assert difference_text(expected, found) == (
        "missing: a, b, c and 1 more; not known: x; "
        "of another shape: e ([5, 1] expected, [5, 2] found)"
    )
    assert difference_text(expected, expected) == ""
