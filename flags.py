"""The flags: what they are called, what they take, and what they are when they are not given."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch

from console import fail
from deploy.predict.settings import FORMATS, Shard
from deploy.runtimes.registry import RUNTIMES
from DOTA_devkit.errors import InputError
from DOTA_devkit.scoring import METRICS
from models import BACKBONES
from structures.defaults import INPUT_HW, NMS_THRESH, THETA_THRESH, K
from train import LAST, SCHEDULES


@dataclass(frozen=True)
class Defaults:
    """What a flag is when it is not given: for the built-in sample set, and for own data."""

    epochs: int
    batch_size: int
    input_hw: tuple[int, int]
    lr: float
    schedule: str
    head_conv: int
    pretrained: str
    save_every: int
    num_workers: int


def usable_cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


OWN_DATA = Defaults(
    epochs=80,
    batch_size=16 if torch.cuda.is_available() else 8,
    input_hw=INPUT_HW,
    lr=1.25e-4,
    schedule="exponential",
    head_conv=256,
    pretrained="imagenet",
    save_every=5,
    num_workers=min(4, usable_cores()),
)
SAMPLE = Defaults(
    epochs=7,
    batch_size=4,
    input_hw=(192, 192),
    lr=2e-3,
    schedule="cosine",
    head_conv=64,
    pretrained="none",
    save_every=0,
    num_workers=0,
)


class Parser(argparse.ArgumentParser):
    """Tells a wrong flag in one line, as all other errors, and not below a page of usage."""

    def error(self, message: str) -> NoReturn:
        sys.exit(fail(f"{message}; --help tells all flags", 2))


def parse_args(argv: Sequence[str] | None, phases: Sequence[str]) -> argparse.Namespace:
    """The command line; a flag whose default depends on the data or the model file is None."""
    parser = Parser(
        description="Oriented object detection with box boundary-aware vectors",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Without --data_dir the built-in sample set is used.",
    )
    # fmt: off
    add = parser.add_argument
    add("--phase", default="test", choices=phases,
        help="what to do (default: %(default)s)")
    add("--verbose", action="store_true", help="log more, and show tracebacks of errors")

    add = parser.add_argument_group("data").add_argument
    add("--dataset", default="dota", metavar="NAME",
        help="dota, hrsc, or path/to/file.py:ClassName of a BaseDataset (default: %(default)s)")
    add("--data_dir", type=Path, metavar="DIR", help="folder of the data (default: sample set)")
    add("--classes", metavar="A,B",
        help="class names, a file of them, or dota1.0, dota1.5, dota2.0 (default: classes.txt in "
             "the data folder, else DOTA 1.0)")
    add("--train_list", metavar="FILE", help="ids to train on (default: train.txt or trainval.txt)")
    add("--val_list", metavar="FILE", help="ids to score after each epoch (default: val.txt)")
    add("--test_list", metavar="FILE", help="ids for test and eval (default: test.txt or val.txt)")
    add("--allow_overlap", action="store_true", help="let images be in both train and val")
    add("--hrsc_level", type=int, default=1, choices=(1, 2, 3), help="HRSC class level")
    add("--min_size", type=nonnegative_float, default=10.0, metavar="PX",
        help="objects whose longer side is below it are not trained on (default: %(default)s)")
    add("--min_visible", type=share, default=0.6, metavar="SHARE",
        help="objects of which a view shows less are not trained on (default: %(default)s)")
    add("--max_objs", type=positive, default=500, metavar="N",
        help="objects of an image that are trained on (default: %(default)s)")
    add("--input_h", type=positive, metavar="PX", help="input height (default: 608; sample: 192)")
    add("--input_w", type=positive, metavar="PX", help="input width (default: 608; sample: 192)")
    add("--no_augment", action="store_true",
        help="train on the images as they are, say to overfit on purpose")
    add("--squash", action="store_true",
        help="test and eval: stretch images to the input as the original does, for its weights")
    add("--num_workers", type=natural, metavar="N", help="processes that read images")

    add = parser.add_argument_group("model").add_argument
    add("--backbone", choices=tuple(BACKBONES), help="default: resnet101, or the checkpoint's")
    add("--head_conv", type=positive, metavar="N", help="width of the heads (256; sample: 64)")
    add("--head_bn", action="store_true", default=None,
        help="BatchNorm in the heads, for small batches")
    add("--pretrained", metavar="WHAT",
        help="first weights of the backbone: imagenet, none, or a file (imagenet; sample: none)")
    add("--finetune", type=Path, metavar="FILE", help="begin with the weights of a detector")
    add("--resume", "--weights", dest="weights", metavar="NAME_OR_PATH",
        help="model: a checkpoint (test and eval: by name or path, default best of the run, else "
             "last), for predict and benchmark an exported file as well")
    add("--K", type=positive, metavar="N",
        help=f"most detections an image (default: {K}, or the exported file's)")
    add("--conf_thresh", type=share, metavar="T",
        help="score to keep (default: test and predict 0.18, eval 0.01, or the exported file's)")
    add("--nms_thresh", type=share, metavar="IOU",
        help=f"overlap that suppresses (default: {NMS_THRESH:g}, or the exported file's)")
    add("--theta_thresh", type=share, metavar="T",
        help="cls_theta above which a box counts as turned "
             f"(default: {THETA_THRESH:g}, or the exported file's)")
    add("--wh_channels", type=int, default=8, help=argparse.SUPPRESS)  # without effect, as ever

    add = parser.add_argument_group("training").add_argument
    add("--num_epoch", "--epochs", dest="epochs", type=positive, metavar="N",
        help=f"(default: {OWN_DATA.epochs}; sample: {SAMPLE.epochs})")
    add("--batch_size", type=positive, metavar="N",
        help=f"(default: 16 with a GPU, else 8; sample: {SAMPLE.batch_size}; predict: 16 or 2)")
    add("--init_lr", type=positive_float, metavar="LR",
        help=f"learning rate (default: {OWN_DATA.lr}; sample: {SAMPLE.lr})")
    add("--schedule", choices=SCHEDULES,
        help=f"of the learning rate (default: {OWN_DATA.schedule}; sample: {SAMPLE.schedule})")
    add("--save_every", type=natural, metavar="N",
        help="keep model_<epoch>.pth every N epochs, 0 for never (default: 5; sample: 0)")
    add("--val_every", type=positive, metavar="N", help="epochs between two APs (default: 1)")
    add("--resume_train", nargs="?", const=LAST, metavar="FILE",
        help="go on with a run that was stopped (FILE: model_last.pth)")
    add("--overwrite", action="store_true", help="replace a run that is there")
    add("--seed", type=natural, help="(default: 317)")

    add = parser.add_argument_group("run").add_argument
    add("--run_dir", type=Path, default=Path(), metavar="DIR",
        help="where weights_*, result_* and merge_* are made (default: here)")
    add("--device", type=device, default=default_device(), metavar="DEVICE",
        help="cpu, cuda or cuda:N (default: %(default)s; predict under torchrun: cuda is the "
             "GPU of the process's rank)")
    add("--threads", type=positive, metavar="N",
        help="of the processor, which the network uses in every runtime (default: as PyTorch)")
    add("--ngpus", type=positive, default=1, help="above 1: DataParallel over so many GPUs")
    add("--metric", choices=METRICS, default="voc07", help="AP (default: %(default)s)")
    add("--merge", choices=("auto", "yes", "no"), default="auto",
        help="eval: merge patches before scoring (auto: when all ids are patches and labels of "
             "the full images are there)")
    add("--truth_dir", type=Path, metavar="DIR",
        help="eval: labels of the full images, for merged results (default: the data's labels)")
    add("--show", action="store_true", help="test: show each picture in a window")

    add = parser.add_argument_group("predict (and benchmark)").add_argument
    add("--source", nargs="+", metavar="PATH",
        help="images, folders, globs, or lists (.txt) of images")
    add("--output", type=Path, metavar="PATH",
        help="folder of the results (result_predict), of benchmark.json, or the file of export "
             "(beside the checkpoint, with the suffix of the format)")
    add("--formats", type=formats, default=FORMATS, metavar="A,B",
        help=f"what to write (default: {','.join(FORMATS)})")
    add("--tile", type=natural, metavar="PX",
        help="side of a window in input pixels, 0 for the image in one piece (default: the "
             "model's input size; an image that hardly exceeds it goes in whole, as in test)")
    add("--overlap", type=natural, metavar="PX",
        help="of two windows, at least the length of an object (default: 100, or a sixth of the "
             "window if that is less)")
    add("--scales", type=scales, metavar="S,S",
        help="sizes at which to look at an image, such as 0.5,1 (default: 1)")
    add("--gsd", type=positive_float, metavar="M",
        help="metres a pixel that the model was trained at, to which GeoTIFFs are rescaled")
    add("--shard", type=shard, metavar="I/N",
        help="do part I (from 0) of N of the work (default: torchrun's rank and world size)")
    add("--runtime", choices=tuple(RUNTIMES),
        help="default: by the kind of model file; openvino runs ONNX files as well")
    add("--models", nargs="+", type=Path, default=(), metavar="FILE",
        help="benchmark: more model files, to be timed beside --weights in turns")
    add("--runs", type=positive, default=20, metavar="N",
        help="benchmark: timed runs, of which the medians are told (default: %(default)s)")

    add = parser.add_argument_group("export").add_argument
    add("--format", choices=("onnx", "torch", "openvino", "tensorrt"), default="onnx",
        help="ONNX; a program of torch.export (.pt2); OpenVINO (.xml and .bin); or ONNX that "
             "TensorRT takes, and its engine where it is installed (default: %(default)s)")
    add("--static", type=positive, nargs=3, metavar=("H", "W", "B"),
        help="fixed height, width and batch (default: any)")
    add("--input", choices=("float32", "uint8"), default="float32",
        help="what the file takes: [B, 3, H, W] in BGR, x / 255 - 0.5, or pictures [B, h, w, 3] of "
             "any size, which it scales and pads itself (default: %(default)s)")
    add("--color", choices=("BGR", "RGB"), default="BGR", help="of --input uint8")
    add("--nms", choices=("none", "graph"), default="none",
        help="graph: put the suppression at --nms_thresh into the file (default: %(default)s)")
    add("--layout", choices=("corners", "light-fork"), default="corners",
        help="outputs corners, scores and labels, or the light fork's rows [1, K, 12]")
    add("--fix_conf", action="store_true", help="--conf_thresh is a constant and no input")
    add("--half", action="store_true", help="the network in float16")
    add("--int8", action="store_true",
        help="the network in 8 bits, but for its first and last layers")
    add("--calibrate", nargs="+", metavar="PATH",
        help="images, folders, globs or lists to calibrate --int8 with (default: the training "
             "images of --data_dir; of the sample set for a model of its own)")
    add("--check_images", type=positive, default=16, metavar="N",
        help="images on which the file is compared with the checkpoint: of --source or --data_dir, "
             "else of the sample set (default: %(default)s)")
    # fmt: on
    return parser.parse_args(argv)


def number(kind: type, allowed: Callable[[float], bool], expected: str) -> Callable[[str], float]:
    """An argparse type: a number of a range that the error names."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not allowed(value):
            raise argparse.ArgumentTypeError(f"{expected} expected, got {text!r}")
        return value

    return parse


positive = number(int, lambda value: value > 0, "a whole number above 0")
natural = number(int, lambda value: value >= 0, "a whole number of 0 or more")
nonnegative_float = number(float, lambda value: 0 <= value < float("inf"), "a number of 0 or more")
positive_float = number(float, lambda value: 0 < value < float("inf"), "a number above 0")
share = number(float, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def scales(text: str) -> tuple[float, ...]:
    return tuple(positive_float(part) for part in text.split(","))


def formats(text: str) -> tuple[str, ...]:
    asked = tuple(part.strip() for part in text.split(","))
    if unknown := [name for name in asked if name not in FORMATS]:
        raise argparse.ArgumentTypeError(f"{', '.join(FORMATS)} expected, got {unknown[0]!r}")
    return asked


def shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device(text: str) -> torch.device:
    try:
        chosen = torch.device(text)
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"cpu, cuda or cuda:N expected, got {text!r}") from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise argparse.ArgumentTypeError(
            f"{text} is not there: PyTorch sees {torch.cuda.device_count()} CUDA devices"
        )
    return chosen
