"""ModelInfo. The test of all backbones is in test_backbones.py."""

import torch

from models import CTRBOX
from models.info import describe

HEADS = {"hm": 3, "wh": 10, "reg": 2, "cls_theta": 1}


def test_costs_of_a_small_network_by_hand():
    model = CTRBOX(HEADS, None, 4, 1, 32, backbone="resnet18", head_bn=True)
    info = describe(model, (64, 96))
    assert info.backbone == "resnet18"
    assert info.input_hw == (64, 96)
    assert info.features[3] == ("C5", 32, (1, 512, 2, 3))
    assert info.merges[0] == ("dec_c4", 512, 256, (1, 256, 4, 6))
    assert [merge.name for merge in info.merges] == ["dec_c4", "dec_c3", "dec_c2"]
    assert info.heads[1] == ("wh", 64, 32, True, 3, (1, 10, 16, 24))
    costs = {cost.name: cost for cost in info.costs}
    # 3x3 convolution 64 -> 32 with bias, BatchNorm, 1x1 convolution 32 -> 3 with bias
    assert costs["hm"].parameters == 64 * 32 * 9 + 32 + 2 * 32 + 32 * 3 + 3
    assert costs["hm"].macs == 16 * 24 * (64 * 32 * 9 + 32 * 3)
    # 3x3 convolution 512 -> 256, 1x1 convolution 512 -> 256, on the map of stride 16
    assert costs["dec_c4"].macs == 4 * 6 * (512 * 256 * 9 + 512 * 256)
    assert info.parameters == sum(p.numel() for p in model.parameters())
    assert info.macs == sum(cost.macs for cost in info.costs)


def test_merges_of_a_neck_by_hand():
    model = CTRBOX(HEADS, None, 4, 1, 32, backbone="resnet18", neck=40)
    info = describe(model, (64, 96))
    assert info.merges[0] == ("dec_c4", 512, 256, (1, 40, 4, 6))
    assert info.merges[1] == ("dec_c3", 40, 128, (1, 40, 8, 12))
    assert [head.c_in for head in info.heads] == [40] * 4
    costs = {cost.name: cost for cost in info.costs}
    # 3x3 convolution 40 -> 40, then 1x1 convolution of 128 + 40 -> 40, on the map of stride 8
    assert costs["dec_c3"].macs == 8 * 12 * (40 * 40 * 9 + (128 + 40) * 40)


def test_macs_of_depthwise_convolutions():
    model = CTRBOX(HEADS, None, 4, 1, 32, backbone="mobilenetv2")
    macs = {cost.name: cost.macs for cost in describe(model, (32, 32)).costs}
    # torchvision's MobileNetV2 is 0.3008 GMAC at 224 with 1.28 M for the classifier and
    # 20.07 M for the last 1x1 convolution (320 -> 1280 at 7x7), which are removed; it scales
    # with the area: (32 / 224)^2 = 1 / 49
    assert abs(macs["base_network"] * 49 - (300.8e6 - 1.28e6 - 20.07e6)) < 0.1e6


def test_model_is_not_changed():
    model = CTRBOX(HEADS, None, 4, 1, 8, backbone="resnet18").train()
    describe(model, (64, 64))
    assert model.training
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    assert not any(module._forward_hooks for module in model.modules())
    assert model(torch.zeros(2, 3, 32, 32))["hm"].shape == (2, 3, 8, 8)


def test_text():
    with torch.device("meta"):
        model = CTRBOX(HEADS, None, 4, 1, 64, backbone="mobilenetv2")
    lines = [" ".join(line.split()) for line in str(describe(model, (416, 608))).splitlines()]
    assert lines[0].startswith("mobilenetv2 at an input of [1, 3, 416, 608]")
    for line in (
        "C2 stride 4 [1, 24, 104, 152]",
        "C5 stride 32 [1, 320, 13, 19]",
        "dec_c4 (320, 96) -> [1, 96, 26, 38]",
        "hm 24 -> 64 -> 3 (1x1) -> [1, 3, 104, 152]",
        "wh 24 -> 64 -> 10 (3x3) -> [1, 10, 104, 152]",
    ):
        assert line in lines
    assert lines[-1].startswith("all 2,")
