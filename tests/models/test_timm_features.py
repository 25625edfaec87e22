"""Backbones of timm: their maps, models that are refused, weights, and checkpoints."""

import pytest
import torch

from DOTA_devkit.errors import InputError
from models import CTRBOX, Checkpoint, load_model, load_pretrained, save_checkpoint
from models.backbones import FEATURE_STRIDES, get_backbone
from models.info import describe

timm = pytest.importorskip("timm")

HEADS = {"hm": 3, "wh": 10, "reg": 2, "cls_theta": 1}
CHANNELS = {  # one of each family, as published with the models
    "mobilenetv4_conv_small": (32, 64, 96, 960),
    "efficientnet_b0": (24, 40, 112, 320),
    "convnext_atto": (40, 80, 160, 320),
    "regnety_002": (24, 56, 152, 368),
    "efficientvit_b0": (16, 32, 64, 128),
}
SMALL = "timm/convnext_atto"
SWIN = "timm/swin_tiny_patch4_window7_224"


def new(backbone=SMALL, **more) -> CTRBOX:
    torch.manual_seed(0)
    return CTRBOX(HEADS, None, 4, 1, 8, backbone=backbone, neck=8, **more)


def image(height=64, width=96):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.mark.slow  # timm takes seconds to build them
@pytest.mark.parametrize(
    ("name", "channels"), [*CHANNELS.items(), (SWIN.removeprefix("timm/"), (96, 192, 384, 768))]
)
def test_channels_and_shapes(name, channels):
    with torch.device("meta"):
        info = describe(new(f"timm/{name}"), (320, 608))
    assert get_backbone(f"timm/{name}").channels == channels
    assert [feature.shape for feature in info.features] == [
        (1, width, 320 // stride, 608 // stride)
        for width, stride in zip(channels, FEATURE_STRIDES, strict=True)
    ]
    assert info.backbone == f"timm/{name}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("convnext_ato", r"unknown to timm .*did you mean timm/convnext_atto\?"),
        ("hf-hub:timm/resnet18.a1_in1k", "unknown to timm"),  # an address of a model elsewhere
        ("local-dir:/tmp", "unknown to timm"),
        ("convnext_atto.no_such_tag", r"no_such_tag.*weights of the model: convnext_atto\."),
        ("vit_tiny_patch16_224", "strides 16, 16, 16, and a detector needs 4, 8, 16, 32"),
        ("coatnet_nano_rw_224", "does not take an input of 64x96, and a detector has to take"),
        ("inception_v3", "does not take an input of 64x96"),
    ],
)
def test_refused_models(name, reason):
    with pytest.raises(InputError, match=f"backbone 'timm/{name}'.*{reason}"):
        get_backbone(f"timm/{name}")


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["model.pth", "model.safetensors"])
@pytest.mark.parametrize("name", ["convnext_atto", "regnety_002"])
def test_maps_are_those_of_the_whole_model(name, layout, tmp_path):
    """Also, the weights of the whole model are taken from a file."""
    torch.manual_seed(0)
    whole = timm.create_model(name).eval()
    if layout.endswith(".pth"):
        torch.save({"state_dict": whole.state_dict()}, tmp_path / layout)
    else:
        from safetensors.torch import save_file

        save_file(whole.state_dict(), tmp_path / layout)
    features = new(f"timm/{name}").base_network.eval()
    load_pretrained(features, f"timm/{name}", tmp_path / layout)
    with torch.no_grad():
        expected = whole.forward_intermediates(image(), output_fmt="NCHW", intermediates_only=True)
        maps = features(image())
    assert all(
        torch.allclose(ours, theirs, atol=1e-5)
        for ours, theirs in zip(maps, expected[-4:], strict=True)
    )


@pytest.mark.slow
def test_maps_of_a_transformer_with_channels_last(tmp_path):
    torch.manual_seed(0)
    whole = timm.create_model(SWIN.removeprefix("timm/")).eval()
    torch.save(whole.state_dict(), tmp_path / "swin.pth")
    features = new(SWIN).base_network.eval()
    load_pretrained(features, SWIN, tmp_path / "swin.pth")
    with torch.no_grad():
        x = image(224, 224)[:1]
        expected = whole.forward_intermediates(x, output_fmt="NCHW", intermediates_only=True)
        maps = features(x)
    # At this size, the whole model does not shift its only window at stride 32, and ours does.
    for ours, theirs in zip(maps[:3], expected[:3], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_file_of_another_model(tmp_path):
    torch.save(timm.create_model("convnext_femto").state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError, match=rf"w\.pth: not the weights of {SMALL}.*different shape"):
        load_pretrained(new().base_network, SMALL, tmp_path / "w.pth")


def test_file_with_more_layers(tmp_path):
    """All layers of the model are in the file, but it is not a file of this model."""
    state = timm.create_model("convnext_atto").state_dict()
    state["stages.3.blocks.2.gamma"] = torch.zeros(320)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"unknown: stages\.3\.blocks\.2\.gamma"):
        load_pretrained(new().base_network, SMALL, tmp_path / "w.pth")


def test_damaged_and_missing_files(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"no header")
    with pytest.raises(InputError, match=r"w\.safetensors: not a file of safetensors"):
        load_pretrained(new().base_network, SMALL, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"no\.safetensors: no such file"):
        load_pretrained(new().base_network, SMALL, tmp_path / "no.safetensors")


@pytest.fixture
def hub(monkeypatch):
    """Return a dict: `answer` is what timm does if it is asked for pretrained weights."""
    asked = {}
    build = timm.create_model

    def create_model(name, pretrained=False, **more):
        if pretrained:
            asked["answer"]()
        return build(name, **more)

    monkeypatch.setattr(timm, "create_model", create_model)
    return asked


def test_pretrained_weights_of_timm(hub):
    hub["answer"] = lambda: torch.manual_seed(7)
    model = CTRBOX(HEADS, "imagenet", 4, 1, 8, backbone=SMALL)
    torch.manual_seed(7)
    expected = get_backbone(SMALL).build().state_dict()
    assert all(
        torch.equal(values, expected[key])
        for key, values in model.base_network.state_dict().items()
    )


def test_hub_that_cannot_be_reached(hub):
    def answer():
        raise OSError("no route to host")

    hub["answer"] = answer
    with pytest.raises(
        InputError, match=r"huggingface\.co/timm/convnext_atto.*no route to host.*`pretrained` none"
    ):
        CTRBOX(HEADS, "imagenet", 4, 1, 8, backbone=SMALL)


def test_model_without_pretrained_weights():
    name = "timm/convnext_atto_rms"
    with pytest.raises(InputError, match=f"no pretrained weights for {name}.*file or to none"):
        CTRBOX(HEADS, "imagenet", 4, 1, 8, backbone=name)


@pytest.mark.parametrize("backbone", [SMALL, pytest.param(SWIN, marks=pytest.mark.slow)])
def test_network_is_rebuilt_from_the_checkpoint_alone(backbone, tmp_path):
    model = new(backbone, classes=("a", "b", "c"), input_size=(64, 96)).eval()
    save_checkpoint(tmp_path / "m.pth", Checkpoint.of(model))
    loaded = load_model(tmp_path / "m.pth")
    assert (loaded.backbone, loaded.neck, loaded.head_conv) == (backbone, 8, 8)
    with torch.no_grad():
        expected, found = model(image()), loaded(image())
    assert all(torch.equal(found[name], expected[name]) for name in HEADS)


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (None, "is a model of timm, but the file does not say which"),
        ("timm/convnext_femto", r"differs from timm/convnext_femto of the installed timm \d"),
        ("timm/no_such_model", "unknown to timm"),
        ("timm/hf-hub:timm/resnet18", "unknown to timm"),
    ],
)
def test_checkpoint_of_another_model(named, reason, tmp_path):
    content = Checkpoint.of(new()).to_file()
    content.pop("backbone")
    torch.save(content | ({"backbone": named} if named else {}), tmp_path / "m.pth")
    with pytest.raises(InputError, match=rf"m\.pth: .*{reason}"):
        load_model(tmp_path / "m.pth")
