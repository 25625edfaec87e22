"""A small network with clear detections, and files exported from it, each made once."""

import cv2
import numpy as np
import torch

from main import main
from models import CTRBOX, Checkpoint, save_checkpoint

CLASSES = ("a", "b", "c")
SIZE_HW = (96, 128)
K = 40
CONF = 0.2


def sharp_model(backbone="resnet18", head_bn=False, classes=CLASSES, **more) -> CTRBOX:
    """Return a small network with running means that finds turned and upright boxes everywhere."""
    torch.manual_seed(0)
    heads = {"hm": 3, "wh": 10, "reg": 2, "cls_theta": 1}
    model = CTRBOX(heads, None, 4, 1, 16, backbone=backbone, head_bn=head_bn, classes=classes,
                   input_size=SIZE_HW, **more)  # fmt: skip
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(2, 3, 96, 128) - 0.5)
        model.hm[-1].weight *= 4
        model.hm[-1].bias += 1.5
        model.wh[-1].weight *= 20
        model.cls_theta[-1].weight *= 20
        model.cls_theta[-1].bias += 1.4
    return model.eval()


def make_folder(root, backbone="resnet18", **more):
    """Write checkpoint.pth, and images of two sizes, one of them black."""
    save_checkpoint(root / "checkpoint.pth", Checkpoint.of(sharp_model(backbone, **more)))
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    for number, (height, width) in enumerate([(96, 128), (150, 90), (96, 128)]):
        small = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / f"images/{number}.png"), image * (number < 2))
    return root


def export(folder, name, *flags):
    """Export a file, once for all tests, and return its path."""
    path = folder / name
    if not path.exists():
        code = main(["--phase", "export", "--weights", str(folder / "checkpoint.pth"),
                     "--output", str(path), "--source", str(folder / "images"), "--K", str(K),
                     "--conf_thresh", str(CONF), *flags])  # fmt: skip
        assert code == 0
    return path
