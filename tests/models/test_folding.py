"""BatchNorm folded into convolutions: the same maps, in the runtimes that detect with PyTorch."""

import numpy as np
import torch
from torch import nn

from deploy.benchmark import PlainTorchRuntime
from deploy.runtimes.base import DetectorSettings
from deploy.runtimes.torch_runtime import TorchRuntime
from helpers.networks import tiny_model
from models import Checkpoint, save_checkpoint
from models.folding import fold_batch_norms


def batch_norms(network):
    return [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]


class Branches(nn.Module):
    """A BatchNorm of one convolution, and others of what is no plain output of a convolution."""

    def __init__(self):
        super().__init__()
        # The norm of the first convolution is not defined next to it.
        self.last = nn.BatchNorm2d(3)
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.of_sum, self.of_activation = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        for norm in (self.last, self.of_sum, self.of_activation):
            nn.init.uniform_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 1, 2)

    def forward(self, x):
        x = self.of_sum(x + self.second(x))
        x = self.of_activation(self.third(x).relu_())
        return self.last(self.first(x))


def test_fold_batch_norms_into_the_convolutions_that_they_normalize():
    torch.manual_seed(0)
    network, image = Branches().eval(), torch.rand(2, 3, 4, 6)
    with torch.no_grad():
        expected = network(image)
        fold_batch_norms(network)
        torch.testing.assert_close(network(image), expected)
    assert isinstance(network.last, nn.Identity)
    assert isinstance(network.of_sum, nn.BatchNorm2d)
    assert isinstance(network.of_activation, nn.BatchNorm2d)


def test_a_checkpoint_detects_with_folded_weights(tmp_path):
    """And gives what the plain network of the original gives, which is the benchmark's baseline."""
    model = tiny_model(box_coding="rectangle", head_bn=True)
    for norm in batch_norms(model):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 1, 2)
    path = tmp_path / "model.pth"
    save_checkpoint(path, Checkpoint.of(model))
    plain, folded = (kind(path, DetectorSettings()) for kind in (PlainTorchRuntime, TorchRuntime))
    assert batch_norms(plain._model) and not batch_norms(folded._model)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    expected, found = (one.network(one.prepare([image])) for one in (plain, folded))
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-4, atol=1e-4)
