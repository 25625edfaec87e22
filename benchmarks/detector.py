"""Time network, decoder and NMS on this machine.

python -m benchmarks.detector [--backbones resnet18,mobilenetv2] [--size 608] [--repeats 5]

Prints the milliseconds per image of each backbone (medians after a warm-up, batch 1), and those of
decoding and NMS of 500 detections, for which the original took 15 ms on 2 cores.
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
    """Return the median milliseconds of a call, after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)


def backbone_ms(backbone: str, size: int, repeats: int) -> float:
    """Time one image in a network with random weights, which take as long as trained ones."""
    heads = {"hm": CLASSES, **HEAD_CHANNELS}
    model = CTRBOX(heads, None, STRIDE, 1, 256, backbone=backbone)
    return network_ms(model, (size, size), torch.device("cpu"), repeats)


def crowded_maps(size: int, objects: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return head maps with `objects` peaks of rotated boxes, one in three close to another."""
    rng = np.random.default_rng(seed)
    cells = size // STRIDE
    hm = np.zeros((CLASSES, cells, cells), np.float32)
    wh = np.zeros((HEAD_CHANNELS["wh"], cells, cells), np.float32)
    # every other cell at most, so that each center is a peak of its own
    spots = rng.permutation((cells // 2) ** 2)[:objects]
    objects = len(spots)  # fewer if the map has no room
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
    print(f"(the original, recorded on 2 cores: {ORIGINAL_POSTPROCESS_MS:.0f} ms)")
    for backbone in args.backbones.split(","):
        milliseconds = backbone_ms(backbone, args.size, args.repeats)
        print(f"{backbone:<18} {milliseconds:8.1f} ms per image", flush=True)


if __name__ == "__main__":
    main()
