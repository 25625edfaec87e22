"""Time the network, the decoder and NMS on this machine.

python -m benchmarks.detector [--backbones resnet18,mobilenetv2] [--size 608] [--repeats 5]

Prints the milliseconds per image of each backbone (batch 1), and those of decoding and NMS of 500
detections, for which the original took 15 ms on 2 cores. All are medians after a warm-up.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from decoder import DecDecoder
from inference import InferenceSettings, network_ms, postprocess
from models import BACKBONES, CTRBOX
from structures.boxes import HEAD_CHANNELS, STRIDE, WH

CLASSES = 15
ORIGINAL_POSTPROCESS_MS = 15.0  # measured on 2 cores; it includes a second read of the image


def median_ms(run: Callable[[], object], repeats: int) -> float:
    """Return the median milliseconds of a call, after a warm-up call."""
    run()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)


def backbone_ms(backbone: str, size: int, repeats: int) -> float:
    """Return the milliseconds of one image in a network with random weights."""
    heads = {"hm": CLASSES, **HEAD_CHANNELS}
    model = CTRBOX(heads, None, STRIDE, 1, 256, backbone=backbone)
    return network_ms(model, (size, size), torch.device("cpu"), repeats)


def crowded_maps(size: int, objects: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return head maps [1, C, size / 4, size / 4] with rotated boxes at random cells.

    At 608 px, about a third of 500 boxes have an IoU above 0.1 with another box of their class.

    Args:
        size: Side of the input in pixels.
        objects: Number of boxes, fewer if the maps have no room.
        seed: Seed of their positions, sizes and classes.
    """
    rng = np.random.default_rng(seed)
    cells = size // STRIDE
    hm = np.zeros((CLASSES, cells, cells), np.float32)
    wh = np.zeros((HEAD_CHANNELS["wh"], cells, cells), np.float32)
    # only even cells, so that each center is a peak
    spots = rng.permutation((cells // 2) ** 2)[:objects]
    objects = len(spots)
    y, x = 2 * (spots // (cells // 2)), 2 * (spots % (cells // 2))
    hm[rng.integers(0, 3, objects), y, x] = rng.uniform(0.3, 0.9, objects)
    angle = rng.uniform(0, np.pi / 2, objects)
    length, width = rng.uniform(2, 8, objects), rng.uniform(1, 3, objects)
    along = np.stack([np.sin(angle), -np.cos(angle)]) * length
    across = np.stack([np.cos(angle), np.sin(angle)]) * width
    for name, vector in zip("trbl", (along, across, -along, -across), strict=True):
        wh[WH[name], y, x] = vector
    maps = {
        "hm": hm,
        "wh": wh,
        "reg": np.full((2, cells, cells), 0.5, np.float32),
        "cls_theta": np.full((1, cells, cells), 0.9, np.float32),
    }
    return {name: torch.from_numpy(values)[None] for name, values in maps.items()}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", default=",".join(BACKBONES), metavar="A,B")
    parser.add_argument("--size", type=int, default=608, metavar="PX")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    args = parser.parse_args()

    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {args.size} px")
    maps = crowded_maps(args.size, 500)
    settings = InferenceSettings(conf_thresh=0.1)
    decoder = DecDecoder(settings.K, settings.conf_thresh, CLASSES)
    source_wh = [(args.size, args.size)]
    post = median_ms(lambda: postprocess(maps, source_wh, decoder, settings), 20 * args.repeats)
    print(f"decode and NMS of 500 detections: {post:.1f} ms ", end="")
    print(f"(original, measured on 2 cores: {ORIGINAL_POSTPROCESS_MS:.0f} ms)")
    for backbone in args.backbones.split(","):
        milliseconds = backbone_ms(backbone, args.size, args.repeats)
        print(f"{backbone:<18} {milliseconds:8.1f} ms per image", flush=True)


if __name__ == "__main__":
    main()
