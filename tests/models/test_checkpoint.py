"""Checkpoints: every known layout loads, a wrong file is refused with a reason, and training
resumes exactly from what is saved.
"""

import json
import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from DOTA_devkit.errors import InputError
from models import (
    BACKBONES,
    CTRBOX,
    Checkpoint,
    build_model,
    finetune,
    load_model,
    read_checkpoint,
    save_checkpoint,
)
from models.architecture import Architecture

HEADS = {"hm": 3, "wh": 10, "reg": 2, "cls_theta": 1}
IMAGE = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) - 0.5


def new(backbone="mobilenetv2", heads=HEADS, head_conv=16, final_kernel=1, **settings) -> CTRBOX:
    """A small detector with nontrivial BatchNorm statistics."""
    torch.manual_seed(0)
    model = CTRBOX(heads, None, 4, final_kernel, head_conv, backbone=backbone, **settings)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            module.num_batches_tracked.fill_(5)
    for head in model.heads:
        nn.init.normal_(getattr(model, head)[-1].weight, std=0.1)
    return model.eval()


def same_maps(a: CTRBOX, b: CTRBOX) -> bool:
    with torch.no_grad():
        maps, others = a(IMAGE), b(IMAGE)
    return list(maps) == list(others) and all(torch.equal(maps[n], others[n]) for n in maps)


def nested(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Flat MobileNetV2 keys under torchvision's names; both list the tensors in the same order."""
    with torch.device("meta"):
        names = torchvision.models.mobilenet_v2(weights=None).features[:18].state_dict()
    body = [key for key in state if key.startswith("base_network.")]
    names = dict(zip(body, names, strict=True))
    return {
        f"base_network.features.{names[key]}" if key in names else key: value
        for key, value in state.items()
    }


def prefixed(state):
    return {f"module.{key}": value for key, value in state.items()}


def with_classifier(state):
    return {**state, "base_network.fc.weight": torch.zeros(1000, 512),
            "base_network.fc.bias": torch.zeros(1000)}  # fmt: skip


def without_counters(state):
    return {key: value for key, value in state.items() if "num_batches_tracked" not in key}


def outer(state, **more):
    return {"epoch": 7, "model_state_dict": state, "optimizer_state_dict": {}, **more}


LAYOUTS = {
    "the original's": outer,
    "from DataParallel": lambda state: outer(prefixed(state)),
    "with the classifier": lambda state: outer(with_classifier(state)),
    "both": lambda state: outer(prefixed(with_classifier(state))),
    "weights alone": lambda state: state,
    "weights alone, ordered, from DataParallel": lambda state: OrderedDict(prefixed(state)),
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "without counters": lambda state: outer(without_counters(state)),
    "with keys of another tool": lambda state: outer(
        state, classes=15, input_size=608, history="lost", random_state=7, backbone=[1]
    ),
}


@pytest.mark.parametrize("head_bn", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.slow
def test_resnet_layouts(layout, head_bn, tmp_path):
    model = new("resnet18", head_bn=head_bn)
    torch.save(LAYOUTS[layout](model.state_dict()), tmp_path / "a.pth")
    loaded = load_model(tmp_path / "a.pth")
    assert (loaded.backbone, loaded.head_conv, loaded.head_bn) == ("resnet18", 16, head_bn)
    assert (loaded.classes, loaded.input_size, loaded.training) == (None, None, False)
    assert same_maps(loaded, model)


@pytest.mark.parametrize("head_bn", [False, True])
@pytest.mark.parametrize("prefix", [dict, prefixed])
@pytest.mark.parametrize("layout", [dict, nested])
@pytest.mark.parametrize("outside", [dict, outer])
@pytest.mark.slow
def test_mobilenet_layouts(outside, layout, prefix, head_bn, tmp_path):
    model = new("mobilenetv2", head_bn=head_bn)
    torch.save(outside(prefix(layout(model.state_dict()))), tmp_path / "a.pth")
    loaded = load_model(tmp_path / "a.pth")
    assert (loaded.backbone, loaded.head_bn) == ("mobilenetv2", head_bn)
    assert same_maps(loaded, model)


@pytest.fixture(scope="module")
def own_content():
    """The content of a file of this project, with its weights."""
    return Checkpoint.of(new(classes=("a", "b", "c"), input_size=(64, 96)), epoch=3).to_file()


NESTED = [0]
for _ in range(60):
    NESTED = [NESTED, NESTED]  # its text would have 2 ** 60 zeros

ODD_ENTRIES = [
    ("epoch", [3.5, "3", True, -1, 2**70, NESTED]),
    ("classes", [["a", "a", "b"], ["a", "b"], [], ["a", "b", 3], ["a", " ", "b"], 3, "abc"]),
    ("input_size", [[0, 0], [-32, -32], [33, 17], [32, 10**7], [10**9] * 2, [32.0, 32], [64]]),
    ("history", [3, [3], [{"loss": "1"}], [{3: 1.0}], {"loss": 1.0}]),
    ("speed", [None, 3, [3], [{"seconds": "1"}], [{3: 1.0}], {"seconds": 1.0}]),
    ("random_state", [3, {"cpu": 3}, {3: torch.zeros(3)}]),
    ("optimizer_state_dict", [3, [1]]),
    ("train", [None, 3, [1], {"lr": NESTED}]),
    ("data", [None, "coco.yaml"]),
    ("dataset", [None, 3, ["dota"]]),
    ("validation", [None, [0.5], {"K": NESTED}]),
    ("run", [None, "train", {3: 1}]),
    ("data_digest", [None, {"train_ids": [1]}, {3: torch.zeros(3)}]),
    ("progress", [None, 3, {"step": "3"}, {"step": True}, {3: 1}]),
    ("center_shift", [None, {"right": 1.0}, {"right": 1.0, "down": math.nan}]),
    ("scaler_state_dict", [None, [1], {"scale": NESTED}]),
]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in ODD_ENTRIES for value in values]
)
def test_odd_entries_are_refused(own_content, name, value):
    with pytest.raises(InputError, match=rf"a\.pth: its {name} is .{{1,80}}, but .* is expected"):
        Checkpoint.from_file(own_content | {name: value}, Path("a.pth"))


def test_entries_of_other_tools_are_left_out():
    odd = {name: values[0] for name, values in ODD_ENTRIES}
    content = {"model_state_dict": new().state_dict(), "more": 3, **odd}
    checkpoint = Checkpoint.from_file(content, Path("a.pth"))
    assert (checkpoint.classes, checkpoint.input_size, checkpoint.epoch) == (None, None, 0)
    assert checkpoint.optimizer_state is None
    assert (checkpoint.history, checkpoint.random_state) == ([], {})
    assert checkpoint.extras == {"more": 3}


def test_epoch_of_a_foreign_checkpoint_must_be_a_whole_number():
    content = outer(new().state_dict()) | {"epoch": 3.5}
    with pytest.raises(InputError, match=r"a\.pth: its epoch is 3\.5, but a whole number"):
        Checkpoint.from_file(content, Path("a.pth"))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int32, torch.bool])
def test_weights_that_are_not_real_numbers_are_refused(own_content, dtype):
    state = dict(own_content["model_state_dict"])
    state["hm.0.weight"] = state["hm.0.weight"].to(dtype)
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(InputError, match=rf"a\.pth: hm\.0\.weight holds {kind}, but weights are"):
        Checkpoint.from_file(own_content | {"model_state_dict": state}, Path("a.pth"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.slow
def test_weights_that_are_not_finite_are_refused(value, tmp_path):
    """Every score would be NaN, and nothing be found without a word."""
    model = new()
    with torch.no_grad():
        model.dec_c2.cat_conv[0].weight[0, 0] = value
    save_checkpoint(tmp_path / "a.pth", Checkpoint.of(model))
    for load in (read_checkpoint, load_model, lambda path: finetune(new(), path)):
        with pytest.raises(InputError, match=r"a\.pth finds nothing: dec_c2\.\S+ holds"):
            load(tmp_path / "a.pth")


ALL_KINDS_OF_HEADS = [
    (HEADS, 256, False, 1),
    ({**HEADS, "hm": 15}, 64, True, 1),
    ({**HEADS, "hm": 1}, 256, False, 3),  # one class, as for HRSC
    ({"cls_theta": 1, "reg": 2, "wh": 10, "hm": 2}, 8, False, 1),  # another order
    ({**HEADS, "more": 4}, 8, False, 1),  # a custom head
]


@pytest.mark.parametrize(
    ("backbone", "heads", "head_conv", "head_bn", "final_kernel"),
    [
        (backbone, *heads)
        for backbone in BACKBONES  # the heads are read alike whatever the backbone is
        for heads in ALL_KINDS_OF_HEADS[: None if backbone == "resnet18" else 2]
    ],
)
def test_architecture_is_read_from_the_weights(backbone, heads, head_conv, head_bn, final_kernel):
    with torch.device("meta"):
        model = CTRBOX(heads, None, 4, final_kernel, head_conv, backbone=backbone, head_bn=head_bn)
    checkpoint = Checkpoint.from_file(model.state_dict(), Path("a.pth"))
    architecture = checkpoint.architecture
    assert architecture.backbone == backbone
    assert list(architecture.heads.items()) == list(heads.items())
    assert (architecture.head_conv, architecture.head_bn) == (head_conv, head_bn)
    assert (architecture.final_kernel, architecture.neck) == (final_kernel, None)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.slow
def test_neck_is_read_from_the_weights(backbone):
    """A width of the table, at which only one of the merges differs from it, is no exception."""
    for neck in (1, 24, 64, 256, *BACKBONES[backbone].channels):
        with torch.device("meta"):
            model = CTRBOX(HEADS, None, 4, 1, 16, backbone=backbone, neck=neck)
        checkpoint = Checkpoint.from_file(model.state_dict(), Path("a.pth"))
        assert checkpoint.architecture == Architecture.of(model)
        assert checkpoint.architecture.neck == neck


def test_merges_of_different_widths_are_rejected():
    with torch.device("meta"):
        state = CTRBOX(HEADS, None, 4, 1, 16, backbone="resnet18", neck=32).state_dict()
        other = CTRBOX(HEADS, None, 4, 1, 16, backbone="resnet18", neck=48).state_dict()
    state |= {key: value for key, value in other.items() if key.startswith("dec_c3")}
    with pytest.raises(InputError, match=r"not a complete resnet18 detector.*dec_c"):
        Checkpoint.from_file(state, Path("a.pth"))


def test_default_neck_is_not_stored():
    assert "neck" not in Checkpoint.of(new()).to_file()
    assert Checkpoint.of(new(neck=24)).to_file()["neck"] == 24


def test_recorded_keys_of_published_files(shared):
    for backbone in ("resnet101", "resnet18", "mobilenetv2"):
        recorded = json.loads((shared / f"fixtures/keys_{backbone}.json").read_text())
        state = {
            f"module.{key}": torch.empty(shape, dtype=getattr(torch, kind[6:]), device="meta")
            for key, shape, kind in recorded["keys"]
        }
        checkpoint = Checkpoint.from_file({"epoch": 50, "model_state_dict": state}, Path("a.pth"))
        assert checkpoint.architecture.backbone == backbone
        assert checkpoint.architecture.heads == recorded["heads"]
        assert checkpoint.epoch == 50


def test_published_file(shared):
    checkpoint = read_checkpoint(shared / "fixtures/model_mobilenetv2.pth")
    assert checkpoint.epoch == 1
    assert checkpoint.classes is None
    model = build_model(checkpoint)
    assert model.backbone == "mobilenetv2"
    # its optimizer state matches the order of our parameters
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.load_state_dict(checkpoint.optimizer_state)


def test_original_can_read_the_file(tmp_path):
    model = new(classes=("a", "b", "c"))
    optimizer = torch.optim.Adam(model.parameters())
    save_checkpoint(tmp_path / "a.pth", Checkpoint.of(model, epoch=4, optimizer=optimizer))
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    assert content["epoch"] == 4
    new().load_state_dict(content["model_state_dict"], strict=True)
    torch.optim.Adam(new().parameters()).load_state_dict(content["optimizer_state_dict"])


def test_finetuning_begins_without_the_shift_of_the_centers(tmp_path):
    """The run measures its own, and test-time augmentation has to know it."""
    shifted, plain = new(), new()
    plain.load_state_dict(shifted.state_dict())
    shifted.reg[-1].bias.data += torch.tensor([0.125, -0.25])
    shifted.center_shift = (0.125, -0.25)
    save_checkpoint(tmp_path / "a.pth", Checkpoint.of(shifted))
    model = new()
    finetune(model, tmp_path / "a.pth")
    torch.testing.assert_close(model.reg[-1].bias.data, plain.reg[-1].bias.data)
    assert model.center_shift == (0.0, 0.0)
    other = new(box_coding="rectangle")  # its box layers are new
    before = other.reg[-1].bias.data.clone()
    finetune(other, tmp_path / "a.pth")
    torch.testing.assert_close(other.reg[-1].bias.data, before)


def test_round_trip(tmp_path):
    model = new("mobilenetv2", classes=("a", "b c", "ä"), input_size=(416, 608), head_bn=True,
                neck=20)  # fmt: skip
    model.center_shift = (0.25, -0.5)
    checkpoint = Checkpoint.of(
        model,
        epoch=3,
        history=[{"loss": np.float32(0.5), "ap": np.float64(0.25)}],
        random_state={"cpu": torch.get_rng_state()},
        extras={"train": {"lr": 1e-3, "schedule": "cosine"}, "mean": torch.ones(2)},
    )
    save_checkpoint(tmp_path / "a.pth", checkpoint)
    loaded = read_checkpoint(tmp_path / "a.pth")
    assert loaded.architecture == checkpoint.architecture
    assert (loaded.classes, loaded.input_size) == (("a", "b c", "ä"), (416, 608))
    assert (loaded.epoch, loaded.optimizer_state) == (3, None)
    assert loaded.history == [{"loss": 0.5, "ap": 0.25}]
    assert torch.equal(loaded.random_state["cpu"], checkpoint.random_state["cpu"])
    assert loaded.extras["train"] == {"lr": 1e-3, "schedule": "cosine"}
    assert set(loaded.extras) == {"train", "mean", "center_shift"}
    again = load_model(tmp_path / "a.pth")
    assert (again.classes, again.input_size) == (("a", "b c", "ä"), (416, 608))
    assert again.neck == 20 and again.center_shift == (0.25, -0.5)
    assert same_maps(again, model)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
@pytest.mark.slow
def test_wrapped_models_are_unwrapped(wrap):
    model = new()
    assert list(Checkpoint.of(wrap(model)).model_state) == list(model.state_dict())


def test_extras_with_reserved_names(tmp_path):
    with pytest.raises(ValueError, match="may not be named epoch"):
        save_checkpoint(tmp_path / "a.pth", Checkpoint.of(new(), extras={"epoch": 3}))


@pytest.mark.slow
def test_training_resumes_exactly(tmp_path):
    """Two steps in a row equal one step, save, load, one step; dropout included."""

    def step(model, optimizer, scheduler):
        model.train()
        maps = model(torch.rand(2, 3, 64, 64))
        optimizer.zero_grad()
        sum(values.square().mean() for values in maps.values()).backward()
        optimizer.step()
        scheduler.step()

    def parts(model):
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    model = new("mobilenetv2")
    optimizer, scheduler = parts(model)
    step(model, optimizer, scheduler)
    checkpoint = Checkpoint.of(
        model,
        epoch=1,
        optimizer=optimizer,
        random_state={"cpu": torch.get_rng_state()},
        extras={"scheduler_state_dict": scheduler.state_dict()},
    )
    save_checkpoint(tmp_path / "a.pth", checkpoint)
    step(model, optimizer, scheduler)

    loaded = read_checkpoint(tmp_path / "a.pth")
    resumed = build_model(loaded)
    optimizer, scheduler = parts(resumed)
    optimizer.load_state_dict(loaded.optimizer_state)
    scheduler.load_state_dict(loaded.extras["scheduler_state_dict"])
    torch.set_rng_state(loaded.random_state["cpu"])
    step(resumed, optimizer, scheduler)

    state = resumed.state_dict()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert scheduler.get_last_lr() == [1e-3 * 0.25]


def test_build_model_copies_the_weights(tmp_path):
    checkpoint = Checkpoint.of(new())
    model = build_model(checkpoint)
    with torch.no_grad():
        model.hm[0].bias += 1
    assert not torch.equal(model.hm[0].bias, checkpoint.model_state["hm.0.bias"])
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_half_precision_weights_become_float32(tmp_path):
    state = {k: v.half() if v.is_floating_point() else v for k, v in new().state_dict().items()}
    torch.save(state, tmp_path / "a.pth")
    model = load_model(tmp_path / "a.pth")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model(IMAGE)["hm"].isfinite().all()


# --- Wrong files -------------------------------------------------------------------------------


def other_network(tmp_path):
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 2)).state_dict()


def classifier(tmp_path):
    return torchvision.models.resnet34(weights=None).state_dict()


def wide_backbone(tmp_path):
    state = new("resnet18").state_dict()
    state["base_network.layer4.0.conv1.weight"] = torch.zeros(1024, 256, 3, 3)
    return state


def half_a_detector(tmp_path):
    return {k: v for k, v in new().state_dict().items() if not k.startswith("dec_c3")}


def no_heads(tmp_path):
    return {k: v for k, v in new().state_dict().items() if k.startswith(("base_network", "dec"))}


def other_vectors(tmp_path):
    return new(heads={**HEADS, "wh": 8}).state_dict()


def mixed_heads(tmp_path):
    state = new().state_dict()
    return state | {k: v for k, v in new(head_bn=True).state_dict().items() if k.startswith("hm")}


def wide_head(tmp_path):
    return new().state_dict() | {
        k: v for k, v in new(head_conv=32).state_dict().items() if k.startswith("wh")
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            other_network,
            r"no weights of this detector, .*its keys are 0\.weight, 0\.bias, 1\.weight",
        ),
        (classifier, r"weights of a resnet34 classifier.*as pretrained, with backbone=resnet34"),
        (wide_backbone, r"nearest is resnet18: different shape: base_network|layer4\.0\.conv1"),
        (half_a_detector, r"not a complete mobilenetv2 detector.*missing: dec_c3\.up\.0\.weight"),
        (no_heads, r"a backbone, but lacks the heads cls_theta, hm, reg, wh"),
        (other_vectors, r"its head wh has 8 channels, expected 10"),
        (mixed_heads, r"heads differ.*with head_bn.*wh, reg, cls_theta"),
        (wide_head, r"different shape: wh\.0\.weight \(\[16, 24, 3, 3\] expected, \[32"),
        (lambda tmp_path: {"epoch": 3}, r"no weights found.*a dict with epoch"),
        (lambda tmp_path: [1, 2], r"no weights found.*a list"),
    ],
)
@pytest.mark.slow
def test_wrong_files_are_refused_with_the_difference(content, message, tmp_path):
    torch.save(content(tmp_path), tmp_path / "a.pth")
    with pytest.raises(InputError, match=rf"(?s)a\.pth: .*{message}"):
        load_model(tmp_path / "a.pth")


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match=r"a\.pth: no such file"):
        load_model(tmp_path / "a.pth")
    (tmp_path / "a.pth").touch()
    with pytest.raises(InputError, match=r"a\.pth: the file is empty"):
        load_model(tmp_path / "a.pth")
    torch.save(new(), tmp_path / "a.pth")  # a whole module: a pickle with code
    with pytest.raises(InputError, match=r"a\.pth: refused.*could run code"):
        load_model(tmp_path / "a.pth")


@pytest.fixture(scope="module")
def named_file(tmp_path_factory):
    """The file of a detector with class names."""
    return saved(new(classes=("a", "b", "c")), tmp_path_factory.mktemp("named"))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"backbone": "resnet101"}, "backbone is resnet101, but the file has mobilenetv2"),
        ({"head_conv": 256}, "head_conv is 256, but the file has 16"),
        ({"head_bn": True}, "head_bn is True, but the file has no BatchNorm in its heads"),
        ({"neck": 32}, "neck is 32, but the file has the backbone's widths"),
        ({"classes": ("a", "b")}, r"classes has 2 names \(a, b\), but the file has 3 \(a, b, c\)"),
        (
            {"classes": ("a", "c", "b")},
            r"classes has 3 names \(a, c, b\), but the file has 3 \(a, b, c\)",
        ),
        ({"classes": ("a",), "head_conv": 8}, "head_conv is 8, .*; classes has 1 names"),
    ],
)
def test_options_that_contradict_the_file(asked, message, named_file):
    with pytest.raises(InputError, match=rf"a\.pth does not match the options: {message}"):
        load_model(named_file, **asked)


def test_options_that_match_the_file(named_file):
    load_model(
        named_file, backbone="mobilenetv2", classes=["a", "b", "c"], head_conv=16, head_bn=False
    )


def test_class_names_for_a_file_without_names(tmp_path):
    """Names fit if they are as many as the channels of the file."""
    torch.save(new().state_dict(), tmp_path / "a.pth")
    assert load_model(tmp_path / "a.pth", classes=["x", "y", "z"]).classes == ("x", "y", "z")
    with pytest.raises(InputError, match=r"classes has 1 names \(x\), but the file has 3\."):
        load_model(tmp_path / "a.pth", classes=("x",))


# --- Fine-tuning -------------------------------------------------------------------------------


def saved(model: CTRBOX, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "a.pth", Checkpoint.of(model))
    return tmp_path / "a.pth"


ALL_MERGES = [
    f"dec_c{stage}.{part}.{layer}"
    for stage in (2, 3, 4)
    for part in ("up", "cat_conv")
    for layer in (0, 1)
]
ALL_HEADS = [f"{head}.{layer}" for head in HEADS for layer in (0, 2)]


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({}, []),
        ({"heads": {**HEADS, "hm": 7}}, ["hm.2"]),  # another number of classes
        ({"classes": ("a", "b", "c")}, []),
        ({"classes": ("a", "b", "z")}, ["hm.2"]),  # as many, but different
        ({"head_conv": 8}, ALL_HEADS),
        ({"head_bn": True}, [f"{head}.{layer}" for head in HEADS for layer in (1, 3)]),
        ({"heads": {**HEADS, "more": 1}}, ["more.0", "more.2"]),
        ({"neck": 40}, [*ALL_MERGES, *(f"{head}.0" for head in HEADS)]),
    ],
)
@pytest.mark.slow
def test_finetune_returns_new_layers(settings, layers, tmp_path):
    path = saved(new("mobilenetv2", classes=("a", "b", "c")), tmp_path)
    torch.manual_seed(1)
    settings = {"heads": HEADS, "head_conv": 16, **settings}
    model = CTRBOX(
        pretrained=None, down_ratio=4, final_kernel=1, backbone="mobilenetv2", **settings
    )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert finetune(model, path) == layers
    saved_state = read_checkpoint(path).model_state
    for key, value in model.state_dict().items():
        fresh = key.rpartition(".")[0] in layers
        assert torch.equal(value, before[key] if fresh else saved_state[key])


@pytest.mark.slow
def test_finetune_from_a_published_file(shared):
    model = CTRBOX({**HEADS, "hm": 4}, None, 4, 1, 256, backbone="mobilenetv2")
    assert finetune(model, shared / "fixtures/model_mobilenetv2.pth") == ["hm.2"]


def test_finetune_needs_the_same_backbone(tmp_path):
    path = saved(new("resnet18"), tmp_path)
    with pytest.raises(InputError, match=r"resnet18, from which mobilenetv2.*backbone=resnet18"):
        finetune(new("mobilenetv2"), path)
