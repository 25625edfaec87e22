"""The network: keys and outputs recorded from the original, settings, initial weights."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from DOTA_devkit.errors import InputError
from helpers.networks import recorded_model
from models import CTRBOX, ctrbox_net, global_batch_norm
from models.backbones import BACKBONES
from models.global_batch_norm import use_global_statistics

HEADS = {"hm": 3, "wh": 10, "reg": 2, "cls_theta": 1}


def small(backbone="resnet18", **settings) -> CTRBOX:
    torch.manual_seed(0)
    settings = {"heads": HEADS, "head_conv": 16, **settings}
    return CTRBOX(
        pretrained=None, down_ratio=4, final_kernel=1, backbone=backbone, **settings
    ).eval()


def images(batch=1, height=64, width=96) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1)) - 0.5


@pytest.mark.parametrize("backbone", ["resnet101", "resnet18", "mobilenetv2"])
def test_keys_shapes_and_dtypes_match_the_original(shared, backbone):
    recorded = json.loads((shared / f"fixtures/keys_{backbone}.json").read_text())
    with torch.device("meta"):
        model = CTRBOX(recorded["heads"], False, 4, 1, 256, backbone=backbone)
    keys = [[key, list(v.shape), str(v.dtype)] for key, v in model.state_dict().items()]
    assert keys == recorded["keys"]  # in the same order, which an optimizer's state relies on
    assert sum(p.numel() for p in model.parameters()) == recorded["n_params"]


def test_outputs_match_the_original(shared):
    recorded = np.load(shared / "fixtures/out_sharp_mobilenetv2.npz")
    model = recorded_model(shared)
    with torch.no_grad():
        image = np.random.RandomState(0).rand(1, 3, 512, 512).astype(np.float32) - 0.5
        maps = model(torch.from_numpy(image))
    assert list(maps) == ["hm", "wh", "reg", "cls_theta"]
    for name, values in maps.items():
        np.testing.assert_allclose(values.numpy(), recorded[f"{name}_512"], atol=1e-4)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2"])
def test_neck_is_the_width_of_merges_and_heads(backbone):
    """The keys are those of the table's widths, in the same order."""
    model, usual = small(backbone, neck=20), small(backbone)
    assert list(model.state_dict()) == list(usual.state_dict())
    for stage, feature in zip((2, 3, 4), BACKBONES[backbone].channels, strict=False):
        state = model.get_submodule(f"dec_c{stage}").state_dict()
        assert state["up.0.weight"].shape[0] == 20
        assert state["cat_conv.0.weight"].shape[:2] == (20, feature + 20)
    assert {model.get_submodule(head)[0].in_channels for head in HEADS} == {20}
    with torch.no_grad():
        shapes = {name: values.shape for name, values in model(images()).items()}
        assert shapes == {name: values.shape for name, values in usual(images()).items()}


@pytest.mark.parametrize("neck", [0, -8])
def test_neck_without_channels_is_rejected(neck):
    with pytest.raises(ValueError, match=f"neck must be a positive .*got {neck}"):
        small(neck=neck)


@pytest.mark.parametrize("down_ratio", [2, 8, 1, None])
def test_other_strides_are_rejected(down_ratio):
    with pytest.raises(ValueError, match=r"must be 4, got .*quarter of the input.*width"):
        CTRBOX(HEADS, None, down_ratio, 1, 64)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2"])
@pytest.mark.parametrize("head_bn", [False, True])
def test_maps_of_an_untrained_network(backbone, head_bn):
    model = small(backbone, head_bn=head_bn)
    maps = model(images(batch=2))
    assert {name: tuple(values.shape) for name, values in maps.items()} == {
        "hm": (2, 3, 16, 24),
        "wh": (2, 10, 16, 24),
        "reg": (2, 2, 16, 24),
        "cls_theta": (2, 1, 16, 24),
    }
    # every cell starts from the prior: few objects, no offset, even odds of being rotated
    assert (maps["hm"] - 0.1).abs().max() < 0.02
    assert (maps["cls_theta"] - 0.5).abs().max() < 0.05
    assert maps["wh"].abs().max() < 0.2


def test_logits_are_the_maps_before_the_sigmoid():
    model = small()
    maps, logits = model(images()), model(images(), logits=True)
    for name in ("hm", "cls_theta"):
        assert torch.equal(maps[name], logits[name].sigmoid())
    for name in ("wh", "reg"):
        assert torch.equal(maps[name], logits[name])


def test_scores_of_rectangles_include_how_well_boxes_fit():
    """They rank as probability times squared fit, and stay in the range of a probability."""
    torch.manual_seed(0)
    model = CTRBOX(HEADS, None, 4, 1, 16, "mobilenetv2", box_coding="rectangle").eval()
    image = torch.rand(2, 3, 64, 96) - 0.5
    with torch.no_grad():
        logits, maps = model(image, logits=True), model(image)
    probability, fit = torch.sigmoid(logits["hm"]), torch.sigmoid(logits["cls_theta"])
    torch.testing.assert_close(maps["hm"], (probability * fit.square()).pow(0.75))
    assert (maps["cls_theta"] == 1).all() and maps["hm"].shape == probability.shape


def test_logits_through_data_parallel():
    model = small()
    maps = nn.DataParallel(model)(images(), logits=True)
    assert torch.equal(maps["hm"], model(images(), logits=True)["hm"])


@pytest.mark.parametrize(("head_bn", "layers"), [(False, {"0", "2"}), (True, {"0", "1", "3"})])
def test_head_layers(head_bn, layers):
    keys = small(head_bn=head_bn).state_dict()
    for head in HEADS:
        assert {key.split(".")[1] for key in keys if key.startswith(f"{head}.")} == layers


def test_last_kernel_of_wh_is_always_3():
    model = small(head_conv=8)
    assert {name: getattr(model, name)[-1].kernel_size[0] for name in HEADS} == {
        "hm": 1, "wh": 3, "reg": 1, "cls_theta": 1,
    }  # fmt: skip


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2"])
def test_channels_last_keeps_results_and_format(backbone):
    model = small(backbone)
    with torch.no_grad():
        expected = model(images())
        model.to(memory_format=torch.channels_last)
        maps = model(images().contiguous(memory_format=torch.channels_last))
    assert maps["hm"].is_contiguous(memory_format=torch.channels_last)
    for name in HEADS:
        torch.testing.assert_close(maps[name], expected[name], rtol=1e-4, atol=1e-5)


def test_bfloat16_is_close():
    model = small()
    with torch.no_grad():
        expected = model(images())
        with torch.autocast("cpu", torch.bfloat16):
            maps = model(images())
    for name in ("hm", "cls_theta"):
        torch.testing.assert_close(maps[name].float(), expected[name], rtol=0, atol=0.01)


def test_every_parameter_gets_a_gradient():
    model = small("mobilenetv2", head_bn=True).train()
    maps = model(images(batch=2))
    sum(values.square().mean() for values in maps.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    "backbone", ["mobilenetv2", "resnet18", "timm/pvt_v2_b0", "timm/mobilevit_xxs"]
)
def test_process_without_an_image_of_a_batch(monkeypatch, backbone):
    """Its parameters get gradients of 0, which are added up in the same order everywhere."""
    if backbone.startswith("timm/"):
        pytest.importorskip("timm")
    for module in (ctrbox_net, global_batch_norm):
        monkeypatch.setattr(module, "process_count", lambda: 2)
    other = torch.tensor(1.0)  # the other process has images, of mean and variance 1

    def gather(own):
        assert own[-1] == 0, "a stand-in counts as an image"
        return torch.stack([own, other.expand_as(own) * 4])

    monkeypatch.setattr(global_batch_norm, "gather_tensors", gather)
    monkeypatch.setattr(global_batch_norm, "add_up", lambda sums: sums + other)
    model = small(backbone, head_bn=True).train()
    use_global_statistics(model)
    found = model(images(batch=0), logits=True)
    assert [tuple(values.shape) for values in found.values()] == [
        (0, channels, 16, 24) for channels in HEADS.values()
    ]
    sum(values.sum() for values in found.values()).backward()
    gradients = {name: one.grad for name, one in model.named_parameters()}
    assert [name for name, grad in gradients.items() if grad is None] == []
    assert [name for name, grad in gradients.items() if grad.any()] == []


def test_classes_and_input_size_are_kept():
    model = small(classes=["a", "b", "c"], input_size=[320, 608], head_bn=True)
    assert (model.backbone, model.head_conv, model.head_bn) == ("resnet18", 16, True)
    assert (model.classes, model.input_size) == (("a", "b", "c"), (320, 608))
    assert (small().classes, small().input_size) == (None, None)


def test_number_of_classes_must_match_channels():
    with pytest.raises(ValueError, match=r"2 names for 3 channels of 'hm'"):
        small(classes=("a", "b"))


def test_unknown_backbone():
    with pytest.raises(InputError, match="vgg"):
        small("vgg")


@pytest.mark.parametrize("pretrained", [None, False, "none"])
def test_random_weights_need_no_network(pretrained, monkeypatch):
    monkeypatch.setattr("models.ctrbox_net.load_pretrained", None)
    CTRBOX(HEADS, pretrained, 4, 1, 8, backbone="resnet18")


@pytest.mark.parametrize(
    ("pretrained", "source"),
    [(True, "imagenet"), ("imagenet", "imagenet"), ("a.pth", "a.pth")],
)
def test_pretrained_sources(pretrained, source, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "models.ctrbox_net.load_pretrained", lambda backbone, name, source: asked.append(source)
    )
    CTRBOX(HEADS, pretrained, 4, 1, 8, backbone="resnet18")
    assert asked == [source]
