"""The backbone table: one test covers every row; the networks match torchvision's."""

import pytest
import torch
import torchvision

from DOTA_devkit.errors import InputError
from models.backbones import BACKBONES, FEATURE_STRIDES, get_backbone
from models.ctrbox_net import CTRBOX
from models.info import describe
from models.state_keys import canonical_keys

HEADS = {"hm": 15, "wh": 10, "reg": 2, "cls_theta": 1}
PUBLISHED = {  # million parameters and GMAC at 608x608, 15 classes
    "resnet101": (72.4, 203.5),
    "resnet18": (13.5, 33.3),
    "mobilenetv2": (2.40, 8.6),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone(name):
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
    if name in PUBLISHED:
        info = describe(model, (608, 608))
        millions, gmac = PUBLISHED[name]
        assert info.parameters / 1e6 == pytest.approx(millions, abs=0.051)
        assert info.macs / 1e9 == pytest.approx(gmac, abs=0.051)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "mobilenetv2"])
def test_backbone_has_imagenet_weights(name):
    assert BACKBONES[name].imagenet is not None


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])
def test_indivisible_sizes_are_rounded_up(name):
    network = BACKBONES[name].build().eval()
    with torch.no_grad():
        maps = network(torch.zeros(1, 3, 70, 100))
    assert [tuple(feature.shape[2:]) for feature in maps] == [(18, 25), (9, 13), (5, 7), (3, 4)]


def test_mobilenetv2_features_match_torchvision():
    theirs = torchvision.models.mobilenet_v2(weights=None).eval()
    ours = BACKBONES["mobilenetv2"].build().eval()
    ours.load_state_dict(canonical_keys(theirs.state_dict()))
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for last, feature in zip((3, 6, 13, 17), ours(image), strict=True):
            assert torch.equal(feature, theirs.features[: last + 1](image))


def test_resnet18_features_match_torchvision():
    theirs = torchvision.models.resnet18(weights=None).eval()
    ours = BACKBONES["resnet18"].build().eval()
    ours.load_state_dict(canonical_keys(theirs.state_dict()))
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        c5 = ours(image)[-1]
        assert torch.equal(theirs.fc(c5.mean((2, 3))), theirs(image))


def test_unknown_backbone_lists_known_ones():
    with pytest.raises(InputError, match=r"'vgg'.*resnet18, .*mobilenetv2"):
        get_backbone("vgg")
