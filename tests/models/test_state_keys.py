"""State dict keys: converting every layout, and matching a backbone."""

import pytest
import torch

from models.backbones import BACKBONES
from models.state_keys import (
    add_batch_counters,
    canonical_keys,
    canonical_state,
    describe_difference,
    match_backbone,
    nearest_backbone,
    shapes_of,
)


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
        ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),  # another backbone
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
        ["features.2.conv.6.weight", "features.2.conv.7.bias"],  # already flat
        ["features.8.block.0.0.weight", "features.1.0.block.0.0.weight"],  # MobileNetV3, B0
    ],
)
def test_unchanged_keys(keys):
    assert list(canonical_keys(dict.fromkeys(keys, 0))) == keys


def test_unused_layers_are_dropped():
    unused = ["fc.weight", "classifier.1.bias", "features.18.1.running_mean"]
    unused += ["features.16.0.weight", "features.8.1.num_batches_tracked"]  # MobileNetV3, B0
    assert canonical_keys(dict.fromkeys(unused, 0)) == {}


def test_missing_batch_counters_are_added():
    state = {"bn.running_var": torch.ones(2), "a.running_var": torch.ones(2)}
    state["a.num_batches_tracked"] = torch.tensor(7)
    state = add_batch_counters(state)
    assert state["bn.num_batches_tracked"].item() == 0
    assert state["a.num_batches_tracked"].item() == 7


@pytest.mark.parametrize("name", BACKBONES)
def test_match_backbone_by_keys_and_shapes(name):
    with torch.device("meta"):
        shapes = shapes_of(BACKBONES[name].build().state_dict())
    assert match_backbone(shapes) == name
    key, shape = shapes.popitem()
    assert match_backbone(shapes) is None
    assert nearest_backbone(shapes) == (name, f"missing: {key}")
    shapes[key] = (*shape, 5)
    assert nearest_backbone(shapes)[0] == name
    assert key in nearest_backbone(shapes)[1]


def test_match_backbone_preferred_name(monkeypatch):
    monkeypatch.setitem(BACKBONES, "resnet18_again", BACKBONES["resnet18"])
    with torch.device("meta"):
        shapes = shapes_of(BACKBONES["resnet18"].build().state_dict())
    assert match_backbone(shapes) == "resnet18"
    assert match_backbone(shapes, preferred="resnet18_again") == "resnet18_again"
    assert match_backbone(shapes, preferred="resnet101") == "resnet18"  # not possible


def test_describe_difference():
    expected = {"a": (1,), "b": (2,), "c": (3,), "d": (4,), "e": (5, 1)}
    found = {"e": (5, 2), "x": (1,)}
    assert describe_difference(expected, found) == (
        "missing: a, b, c and 1 more; unknown: x; "
        "different shape: e ([5, 1] expected, [5, 2] found)"
    )
    assert describe_difference(expected, expected) == ""


def test_wrapper_prefixes_are_removed():
    state = {
        "module._orig_mod.hm.0.bias": torch.zeros(1, dtype=torch.float16),
        "module.base_network.fc.bias": torch.zeros(1),
        "module.base_network.features.2.conv.1.0.weight": torch.zeros(1),
        "module.dec_c2.up.1.running_var": torch.zeros(1),
    }
    state = canonical_state(state)
    assert set(state) == {
        "hm.0.bias",
        "base_network.features.2.conv.3.weight",
        "dec_c2.up.1.running_var",
        "dec_c2.up.1.num_batches_tracked",
    }
    assert state["hm.0.bias"].dtype == torch.float32
