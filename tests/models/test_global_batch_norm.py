"""BatchNorm over several processes, of which the others are played here."""

import copy

import pytest
import torch
from torch import nn

from DOTA_devkit.errors import InputError
from models import global_batch_norm
from models.global_batch_norm import uncounted, use_global_statistics


@pytest.fixture
def others(monkeypatch):
    """Return a list of the images of two other processes, and let there be three."""
    images = []
    monkeypatch.setattr(global_batch_norm, "process_count", lambda: 3)

    def gather(own):
        rows = [own]
        for one in images:
            values = one.transpose(0, 1).flatten(1)
            row = own.new_zeros(len(own))
            if count := values.shape[1]:
                moments = (values.mean(1), values.var(1, correction=0))
                row = torch.cat([*moments, own.new_full((1,), count)])
            rows.append(row)
        return torch.stack(rows)

    monkeypatch.setattr(global_batch_norm, "gather_tensors", gather)
    monkeypatch.setattr(global_batch_norm, "add_up", lambda sums: sums)
    return images


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_are_those_of_the_whole_batch(others, momentum):
    torch.manual_seed(0)
    batch = torch.randn(5, 4, 3, 2) * 3 + 1
    others += [batch[2:], batch[:0]]  # a process may have no image
    alone = nn.BatchNorm2d(4, momentum=momentum)
    nn.init.normal_(alone.weight)
    together = nn.Sequential(copy.deepcopy(alone))
    use_global_statistics(together)
    for _ in range(2):
        expected, found = alone(batch)[:2], together(batch[:2])
        assert torch.allclose(found, expected, atol=1e-5)
    assert list(together[0].state_dict()) == list(alone.state_dict())
    for name, value in alone.state_dict().items():
        assert torch.allclose(together[0].state_dict()[name], value, atol=1e-5), name
    together.eval()
    alone.eval()
    assert torch.allclose(together(batch), alone(batch), atol=1e-5)


def test_images_that_do_not_count(others):
    """They are normalized as the images of the other processes, and are none of them."""
    torch.manual_seed(0)
    batch = torch.randn(4, 4, 3, 2) * 3 + 1
    others += [batch[:3], batch[3:]]
    alone = nn.BatchNorm2d(4)
    nn.init.normal_(alone.weight)
    together = nn.Sequential(copy.deepcopy(alone))
    use_global_statistics(together)
    alone(batch)
    x = torch.randn(2, 4, 3, 2, requires_grad=True)
    with uncounted(together):
        found = together(x)
    for name, value in alone.state_dict().items():
        assert torch.allclose(together[0].state_dict()[name], value, atol=1e-5), name
    mean, variance = batch.mean((0, 2, 3)), batch.var((0, 2, 3), correction=0)
    expected = nn.functional.batch_norm(x, mean, variance, alone.weight, alone.bias)
    assert torch.allclose(found, expected, atol=1e-5)
    given = torch.randn_like(found)
    found.backward(given)
    scale = alone.weight / (variance + alone.eps).sqrt()  # as of constants
    assert torch.allclose(x.grad, given * scale[:, None, None], atol=1e-5)
    others[:] = [batch[:1], batch[:0]]
    before = together[0].running_mean.clone()
    together(batch[1:])  # which count again
    assert torch.allclose(together[0].running_mean, 0.9 * before + 0.1 * mean, atol=1e-5)


@pytest.mark.parametrize("values", [0, 1])
def test_too_few_values_for_a_variance(others, values):
    """Heads are computed at objects' cells alone, of which a batch may have none."""
    others += [torch.zeros(0, 4, 1, 1)] * 2
    norm = nn.Sequential(nn.BatchNorm2d(4))
    norm[0].running_mean.fill_(2.0)
    expected = copy.deepcopy(norm).eval()
    use_global_statistics(norm)
    x = torch.full((values, 4, 1, 1), 5.0, requires_grad=True)
    found = norm(x)
    assert torch.allclose(found, expected(x))
    found.sum().backward()
    scale = 1 / (1 + norm[0].eps) ** 0.5
    assert torch.allclose(x.grad, torch.full_like(x, scale))
    assert norm[0].running_mean.tolist() == [2.0] * 4 and norm[0].num_batches_tracked == 0


def test_batch_norm_of_timm_keeps_its_activation(others):
    layers = pytest.importorskip("timm.layers")
    batch = torch.randn(4, 3, 2, 2)
    others += [batch[1:], batch[:0]]
    alone = layers.BatchNormAct2d(3)
    together = nn.Sequential(copy.deepcopy(alone))
    use_global_statistics(together)
    found = together(batch[:1])
    assert torch.allclose(found, alone(batch)[:1], atol=1e-6) and found.min() == 0


def test_unknown_kinds_of_batch_norm_are_refused():
    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(InputError, match="layer 0 is a Own"):
        use_global_statistics(nn.Sequential(Own(2)))
