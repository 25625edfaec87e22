"""The backbone table: one test covers every row; the networks match torchvision's."""

import pytest
import torch
import torchvision
from torch import nn

from DOTA_devkit.errors import InputError
from models.backbones import BACKBONES, FEATURE_STRIDES, get_backbone
from models.ctrbox_net import CTRBOX
from models.info import describe
from models.state_keys import canonical_keys

HEADS = {"hm": 15, "wh": 10, "reg": 2, "cls_theta": 1}
PUBLISHED = {  # million parameters and GMAC at 608x608, 15 classes
    "resnet101": (72.4, 203.5),
    "resnet18": (13.5, 33.3),
    "efficientnet_b0": (4.25, 9.4),
    "mobilenet_v3_large": (3.31, 8.0),
    "mobilenetv2": (2.40, 8.6),
}


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.slow
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


THEIRS = {  # the functions of torchvision that build the same networks
    "resnet18": torchvision.models.resnet18,
    "resnet34": torchvision.models.resnet34,
    "resnet50": torchvision.models.resnet50,
    "resnet101": torchvision.models.resnet101,
    "mobilenetv2": torchvision.models.mobilenet_v2,
    "mobilenet_v3_large": torchvision.models.mobilenet_v3_large,
    "efficientnet_b0": torchvision.models.efficientnet_b0,
}
LAST_BLOCKS = {  # of torchvision's `features` at strides 4, 8, 16 and 32
    "mobilenetv2": (3, 6, 13, 17),
    "mobilenet_v3_large": (3, 6, 12, 15),
    "efficientnet_b0": (2, 3, 5, 7),
}


def test_every_network_with_imagenet_weights_is_compared():
    assert THEIRS.keys() == {name for name, row in BACKBONES.items() if row.imagenet}


@pytest.mark.parametrize("name", THEIRS)
def test_imagenet_weights_are_torchvisions_for_this_network(name):
    weights = torchvision.models.get_weight(BACKBONES[name].imagenet)
    build = torchvision.models.get_model_builder(THEIRS[name].__name__)
    assert weights in torchvision.models.get_model_weights(build)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", *LAST_BLOCKS])
def test_a_seed_gives_the_weights_of_torchvision(name):
    """Tensors, their order (that of an optimizer's state) and the random numbers that follow."""
    torch.manual_seed(5)
    theirs, following = canonical_keys(THEIRS[name](weights=None).state_dict()), torch.rand(3)
    torch.manual_seed(5)
    ours = BACKBONES[name].build().state_dict()
    assert torch.equal(torch.rand(3), following)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("name", THEIRS)
def test_every_network_has_the_layers_of_torchvision(name):
    """So that torchvision's weights fit it, once the layers of the classifier are dropped."""
    with torch.device("meta"):
        theirs = canonical_keys(THEIRS[name](weights=None).state_dict())
        ours = BACKBONES[name].build().state_dict()
    assert [(key, value.shape) for key, value in ours.items()] == [
        (key, value.shape) for key, value in theirs.items()
    ]


@pytest.mark.parametrize("name", ["resnet18", *LAST_BLOCKS])
def test_indivisible_sizes_are_rounded_up(name):
    network = BACKBONES[name].build().eval()
    with torch.no_grad():
        maps = network(torch.zeros(1, 3, 70, 100))
    assert [tuple(feature.shape[2:]) for feature in maps] == [(18, 25), (9, 13), (5, 7), (3, 4)]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", *LAST_BLOCKS])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.slow
def test_features_match_torchvision(name, training):
    theirs = THEIRS[name](weights=None).train(training)
    ours = BACKBONES[name].build().train(training)
    ours.load_state_dict(canonical_keys(theirs.state_dict()))
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.manual_seed(3)  # stochastic depth
        maps = ours(image)
        if name in LAST_BLOCKS:
            expected = []
            for last in LAST_BLOCKS[name]:
                torch.manual_seed(3)
                expected.append(theirs.features[: last + 1](image))
        else:
            layers = list(theirs.children())  # the stem has four; pooling and classifier are last
            expected = [nn.Sequential(*layers[:end])(image) for end in (5, 6, 7, 8)]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(maps, expected, strict=True))


def test_unknown_backbone_lists_known_ones():
    with pytest.raises(InputError, match=r"'vgg'.*resnet18, .*mobilenetv2"):
        get_backbone("vgg")
