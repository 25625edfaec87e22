"""Every flag of `main.py`, once: its names, the phases that take it, its values and its help.

A phase's parser has the flags of that phase alone. A flag whose default depends on the data or on
the model file is None when it is not given.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.arguments import (
    backbone,
    bands,
    channels,
    decay,
    device,
    formats,
    natural,
    nonnegative_float,
    positive,
    positive_float,
    scales,
    seed,
    shard,
    share,
    thresholds,
    views,
)
from cli.defaults import OWN_DATA, SAMPLE
from cli.recipes import DEFAULT, RECIPES
from deploy.export.formats import EXPORT_FORMATS
from deploy.predict.settings import FORMATS, LABEL_FORMATS
from deploy.runtimes.registry import RUNTIMES
from DOTA_devkit.error_analysis import WORST
from DOTA_devkit.imaging.options import DEPTHS, MAX_PIXELS
from DOTA_devkit.scoring import METRICS
from models.backbones import known_backbones
from structures.defaults import CONF_THRESH, EVAL_CONF_THRESH, NMS_THRESH, THETA_THRESH, K
from structures.views import DEFAULT_TTA
from training.files import LAST
from training.settings import AMP, SCHEDULES

TRAIN, TEST, EVAL, INFO = ("train",), ("test",), ("eval",), ("info",)
PREDICT, BENCHMARK, EXPORT = ("predict",), ("benchmark",), ("export",)
DATA_SET = TRAIN + TEST + EVAL
MODEL_FILE = PREDICT + BENCHMARK
DETECTING = DATA_SET + MODEL_FILE
EVERY = DETECTING + EXPORT + INFO


@dataclass(frozen=True)
class Flag:
    """A flag of the command line.

    Attributes:
        names: as they are written; the first one is shown in messages.
        phases: those that take it.
        group: heading below which the help lists it.
        options: what `ArgumentParser.add_argument` takes.
        help: one text, or one per phase where what the flag does differs.
        idle_in: phases that accept it without effect, as the original does: scripts that were
            written for it give all phases the same flags.
    """

    names: tuple[str, ...]
    phases: tuple[str, ...]
    group: str
    options: Mapping[str, Any]
    help: str | Mapping[str, str]
    idle_in: tuple[str, ...] = ()

    @property
    def dest(self) -> str:
        """Attribute of the parsed arguments."""
        return self.options.get("dest", self.names[0].lstrip("-"))

    def add_to(self, parser: argparse._ActionsContainer, phase: str) -> None:
        """Declare the flag in the parser of a phase."""
        if phase in self.idle_in:
            text = argparse.SUPPRESS
        else:
            text = self.help if isinstance(self.help, str) else self.help[phase]
        parser.add_argument(*self.names, **self.options, help=text)


def _flags() -> list[Flag]:
    flags: list[Flag] = []

    def group(title: str):
        def add(*names: str, phases: tuple[str, ...], help: str | Mapping[str, str],
                idle_in: tuple[str, ...] = (), **options) -> None:  # fmt: skip
            flags.append(Flag(names, phases, title, options, help, idle_in))

        return add

    for declare in (_run_flags, _data_flags, _model_flags, _detection_flags, _training_flags,
                    _evaluation_flags, _prediction_flags, _benchmark_flags,
                    _export_flags):  # fmt: skip
        declare(group)
    return flags


# fmt: off
def _run_flags(group) -> None:
    add = group("run")
    add("--run_dir", phases=DETECTING + INFO, type=Path, default=Path(), metavar="DIR",
        help="folder of weights_*, result_* and merge_* (default: the current folder)")
    add("--device", phases=DETECTING + INFO, type=device, metavar="DEVICE",
        help={**dict.fromkeys(DATA_SET, "cpu, cuda or cuda:N (default: cuda with a GPU, else "
                              "cpu)"),
              "info": "device that --all times on: cpu, cuda or cuda:N (default: cuda with a GPU, "
                      "else cpu)",
              **dict.fromkeys(MODEL_FILE, "cpu, cuda or cuda:N (default: cuda with a GPU that the "
                              "runtime can use, else cpu); under torchrun, cuda is the GPU of "
                              "the process's rank")})
    add("--ngpus", phases=DATA_SET, type=positive, default=1, metavar="N",
        help="GPUs to use, each by a process of its own that takes its share of each batch, or in "
             "test and eval of the images; with --device cpu, processes on the CPU (default: "
             "%(default)s)")
    add("--threads", phases=EVERY, type=positive, metavar="N",
        help={**dict.fromkeys(DETECTING + EXPORT, "CPU threads of the network, in every runtime "
                              "(default: one per core); fewer may be faster if other programs "
                              "keep the cores busy"),
              "info": "CPU threads that --all times with (default: one per core)"})
    add("--overwrite", phases=TRAIN + PREDICT, action="store_true",
        help={"train": "replace an existing run",
              "predict": "replace labels of an earlier run (without it an error, as they may have "
                         "been corrected)"})


# Over 60 lines because it is a table: one row for each flag of the group.
def _data_flags(group) -> None:
    add = group("data")
    labeled = DATA_SET + EXPORT
    add("--dataset", phases=labeled + INFO, default="dota", metavar="NAME",
        help="dota, hrsc, or path/to/file.py:ClassName of a BaseDataset (default: %(default)s)")
    add("--data_dir", phases=labeled + INFO, type=Path, metavar="DIR",
        help={**dict.fromkeys((*DATA_SET, "info"), "folder of the data (default: sample set)"),
              "export": "folder of the data for the comparison with the checkpoint and for "
                        "calibration (default: sample set)"})
    add("--classes", phases=EVERY, metavar="A,B",
        help={**dict.fromkeys((*DATA_SET, "info"), "class names, a file of them, or dota1.0, "
                              "dota1.5, dota2.0 (default: classes.txt in the data folder, else "
                              "DOTA 1.0)"),
              **dict.fromkeys((*MODEL_FILE, "export"), "class names, a file of them, or dota1.0, "
                              "dota1.5, dota2.0, for a checkpoint that does not name its own")})
    add("--train_list", phases=TRAIN + EXPORT, metavar="FILE",
        help={"train": "image ids to train on (default: train.txt or trainval.txt)",
              "export": "image ids to calibrate with, for --int8 (default: train.txt or "
                        "trainval.txt)"})
    add("--val_list", phases=DATA_SET, metavar="FILE",
        help="image ids of the validation list (default: val.txt)")
    add("--test_list", phases=TEST + EVAL + EXPORT, metavar="FILE",
        help={**dict.fromkeys(TEST + EVAL, "image ids of the test list, in the data folder "
                              "(default: test.txt or val.txt)"),
              "export": "image ids to compare the file with the checkpoint on (default: test.txt "
                        "or val.txt)"})
    add("--allow_overlap", phases=TRAIN, action="store_true",
        help="accept images that are in both the training and the validation list")
    add("--hrsc_level", phases=labeled, type=int, default=1, choices=(1, 2, 3),
        help="class level of HRSC2016 (default: %(default)s)")
    add("--min_size", phases=TRAIN, type=nonnegative_float, default=10.0, metavar="PX",
        help="ignore objects whose longer side is shorter (default: %(default)s)")
    add("--min_visible", phases=TRAIN, type=share, default=0.6, metavar="SHARE",
        help="ignore objects of which a smaller share is inside the view (default: %(default)s)")
    add("--max_objs", phases=TRAIN, type=positive, default=500, metavar="N",
        help="maximum number of training targets per image (default: %(default)s)")
    add("--input_h", phases=EVERY, type=positive, metavar="PX",
        help=_side("height"))
    add("--input_w", phases=EVERY, type=positive, metavar="PX",
        help=_side("width"))
    add("--no_augment", phases=TRAIN, action="store_true",
        help="no data augmentation, for example to overfit on purpose")
    squashed = "stretch images to the input instead of letterboxing them, as the original does"
    add("--squash", phases=TEST + EVAL + MODEL_FILE + EXPORT, action="store_true",
        help={**dict.fromkeys(TEST + EVAL, squashed),
              **dict.fromkeys(MODEL_FILE, f"{squashed} (default: as the exported file says)"),
              "export": "make a file for images that are stretched to the input instead of "
                        "letterboxed, as the original does"})
    images = DETECTING + EXPORT
    depth = "conversion of 16 bits to 8: a contrast stretch of each band, or the upper 8 bits"
    numbers = "numbers of the red, green and blue bands of TIFFs, such as 3,2,1"
    add("--depth", phases=images, choices=DEPTHS,
        help={**dict.fromkeys(images, f"{depth} (default: as in training, else stretch)"),
              "train": f"{depth} (default: stretch)",
              **dict.fromkeys(TEST + EVAL, f"{depth} (default: as in training)")})
    add("--bands", phases=images, type=bands, metavar="R,G,B",
        help={**dict.fromkeys(images, f"{numbers} (default: as in training, else by the files' "
                              "own names and colors)"),
              "train": f"{numbers} (default: by the files' own names and colors)"})
    add("--max_pixels", phases=images, type=positive, metavar="N",
        help=f"refuse images whose header says that they have more pixels (default: {MAX_PIXELS})")
    add("--allow_remote", phases=images, action="store_true",
        help="read virtual and remote images (VRT, WMS, /vsicurl), which can refer to other "
             "files and servers")
    add("--num_workers", phases=DATA_SET, type=natural, metavar="N",
        help="worker processes of this machine that load images, 0 for none (default: one per "
             f"core, at most 4; sample: {SAMPLE.num_workers})")


def _side(name: str) -> dict[str, str]:
    """Help of the height or width of the network's input."""
    axis = ("height", "width").index(name)
    usual = f"{OWN_DATA.input_hw[axis]}; sample: {SAMPLE.input_hw[axis]}"
    return {"train": f"input {name}, a multiple of 32 (default: {usual})",
            **dict.fromkeys(TEST + EVAL, f"input {name} (default: the checkpoint's)"),
            "info": f"input {name} (default: the checkpoint's, or else {usual})",
            **dict.fromkeys(MODEL_FILE + EXPORT, f"input {name} (default: the model's)")}


def _model_flags(group) -> None:
    add = group("model")
    built = DATA_SET + INFO
    add("--weights", "--resume", phases=TEST + EVAL + INFO + MODEL_FILE + EXPORT,
        dest="weights", metavar="NAME_OR_PATH",
        help={**dict.fromkeys(TEST + EVAL, "checkpoint by name or path (default: the best of the "
                              "run, else the last)"),
              "info": "checkpoint by name or path (default: a network as set by the flags)",
              **dict.fromkeys(MODEL_FILE, "model file: a checkpoint or an exported file"),
              "export": "checkpoint to export"})
    add("--backbone", phases=EVERY, type=backbone, metavar="NAME",
        help={**dict.fromkeys(TRAIN + INFO, f"{known_backbones()} (default: resnet101, or the "
                              "checkpoint's)"),
              **dict.fromkeys(TEST + EVAL + MODEL_FILE + EXPORT, "backbone that the model file "
                              "must have (default: any)")})
    add("--all", phases=INFO, action="store_true",
        help="show a table of all backbones instead, with the network's parameters, its GMAC and "
             "the milliseconds per image on this machine; --backbone timm/NAME adds a row")
    new = TRAIN + INFO
    add("--head_conv", phases=built, type=channels, metavar="N",
        help={**dict.fromkeys(new, "hidden channels of the heads (default: 256; sample: 64)"),
              **dict.fromkeys(TEST + EVAL, "hidden channels that the checkpoint's heads must "
                              "have")})
    add("--neck", phases=built, type=channels, metavar="N",
        help={**dict.fromkeys(new, "channels of the merges and of the input of the heads, such as "
                              "64 for a faster network (default: those of the backbone's feature "
                              "maps, as in the original)"),
              **dict.fromkeys(TEST + EVAL, "channels that the checkpoint's merges must have")})
    add("--head_bn", phases=built, action="store_true", default=None,
        help={**dict.fromkeys(new, "BatchNorm in the heads, which helps with small batches"),
              **dict.fromkeys(TEST + EVAL, "require BatchNorm in the checkpoint's heads")})
    add("--pretrained", phases=TRAIN, metavar="WHAT",
        help="initial weights of the backbone: imagenet (of torchvision or timm), none, or a file "
             "(default: imagenet; sample: none)")
    add("--finetune", phases=TRAIN, type=Path, metavar="FILE",
        help="start from the weights of a detector checkpoint")
    # The original defines it and never reads it.
    add("--wh_channels", phases=(), idle_in=DATA_SET, type=int, default=8, help="")


def _detection_flags(group) -> None:
    add = group("detection")
    phases = DETECTING + EXPORT
    stored = "default: {}, or the exported file's"

    def helped(text: str, default: str) -> dict[str, str]:
        return {**dict.fromkeys(DATA_SET + EXPORT, f"{text} (default: {default})"),
                **dict.fromkeys(MODEL_FILE, f"{text} ({stored.format(default)})")}

    add("--K", phases=phases, type=positive, metavar="N",
        help=helped("maximum number of detections per image", f"{K}"))
    kept = "keep detections with a higher score"
    by_class = f"{kept}; also per class: 0.1,plane=0.4,ship=0.2"
    add("--conf_thresh", phases=phases, type=thresholds, metavar="T",
        help={**helped(by_class, f"{CONF_THRESH:g}"),
              "export": "score threshold in the file's metadata, which its users should "
                        f"apply (default: {CONF_THRESH:g}); see --fix_conf",
              "train": f"{kept} (default: {EVAL_CONF_THRESH:g})",
              "eval": f"{by_class} (default: {EVAL_CONF_THRESH:g})"})
    add("--nms_thresh", phases=phases, type=share, metavar="IOU",
        help=helped("NMS suppresses boxes with a higher IoU", f"{NMS_THRESH:g}"))
    agnostic = "class-agnostic NMS: boxes of different classes with a higher IoU suppress, too"
    add("--agnostic_nms_thresh", phases=TEST + EVAL + PREDICT, type=share, metavar="IOU",
        help={**dict.fromkeys(TEST + EVAL, f"{agnostic}; within each image of the list, so not "
                                           "where patches overlap (default: none)"),
              "predict": f"{agnostic} (default: none)"})
    add("--theta_thresh", phases=phases, type=share, metavar="T",
        help=helped("boxes with a higher cls_theta are rotated, others axis-aligned",
                    f"{THETA_THRESH:g}"))
    add("--tta", phases=TEST + EVAL + MODEL_FILE, nargs="?", const=DEFAULT_TTA, type=views,
        metavar="VIEWS",
        help={**dict.fromkeys(
                  TEST + EVAL + PREDICT,
                  "test-time augmentation: average the outputs for several views of each image, "
                  "from flips, turns (right angles) and scale factors, as flips,turns,0.8,1.25 "
                  f"(without VIEWS: {DEFAULT_TTA}, which takes four times as long)"),
              "benchmark": "also time test-time augmentation with these views: flips, turns (right "
                           "angles) and scale factors, such as flips,turns,0.8,1.25 (without "
                           f"VIEWS: {DEFAULT_TTA})"})
    add("--batch_size", phases=DETECTING, type=positive, metavar="N",
        help={**dict.fromkeys(DATA_SET, "images per batch (default: 16 with a GPU, else 8; "
                              f"sample: {SAMPLE.cpu_batch_size})"),
              "predict": "windows per batch (default: 16 with a GPU, else 2)",
              "benchmark": "images per batch (default: 1)"})


def _training_flags(group) -> None:
    add = group("training")
    usual, paper = (RECIPES[name].settings for name in (DEFAULT, "paper"))
    sample = SAMPLE.recipe_settings["paper"]
    add("--num_epoch", "--epochs", phases=TRAIN, idle_in=TEST + EVAL, dest="epochs",
        type=positive, metavar="N",
        help=f"number of epochs (default: {OWN_DATA.epochs}; sample: {SAMPLE.epochs})")
    add("--init_lr", phases=TRAIN, idle_in=TEST + EVAL, type=positive_float, metavar="LR",
        help=f"highest learning rate (default: {usual['lr']}; with --recipe paper {paper['lr']}, "
             f"or {sample['lr']} on the sample)")
    add("--schedule", phases=TRAIN, choices=SCHEDULES,
        help=f"learning rate schedule (default: {usual['schedule']}; with --recipe paper "
             f"{paper['schedule']}, or {sample['schedule']} on the sample)")
    add("--recipe", phases=TRAIN, choices=RECIPES,
        help="training recipe: rectangle codes boxes as rectangles, with settings tuned for them; "
             "paper trains as in the publication, and the original can load its checkpoints "
             f"(default: {DEFAULT}, or that of the checkpoint to fine-tune)")
    add("--teacher", phases=TRAIN, type=Path, metavar="FILE",
        help="knowledge distillation: checkpoint of a trained, usually larger network with the "
             "same classes, whose output the network learns in addition to the labels")
    add("--ema", phases=TRAIN, type=decay, metavar="DECAY",
        help="decay of the exponential moving average of the weights, which is scored and saved, 0 "
             f"for none (default: {usual['ema_decay']}; with --recipe paper 0)")
    add("--mosaic", phases=TRAIN, type=share, metavar="P",
        help="probability that the training view of an image is put together from four, if its "
             f"objects are small enough (default: {usual['mosaic']:g}; with --recipe paper 0)")
    add("--accumulate", phases=TRAIN, type=positive, metavar="N",
        help="accumulate the gradients of N batches for each step, which equals a batch N times "
             "as large (default: 1)")
    add("--patience", phases=TRAIN, type=natural, metavar="N",
        help="early stopping: end the run after N epochs without a better AP on the validation "
             "list, 0 for never (default: 0)")
    add("--save_every", phases=TRAIN, type=natural, metavar="N",
        help="keep model_<epoch>.pth every N epochs, 0 for never (default: 5; sample: 0)")
    add("--save_minutes", phases=TRAIN, type=nonnegative_float, metavar="N",
        help="save the run every N minutes within an epoch, 0 for never (default: 10)")
    add("--val_every", phases=TRAIN, type=positive, metavar="N",
        help="validate every N epochs (default: 1)")
    add("--amp", phases=TRAIN, nargs="?", const="auto", choices=AMP,
        help="mixed precision: run the network in float16 or bfloat16, the losses in float32 "
             "(default: none; without a value auto: bfloat16 if the GPU or CPU supports it, "
             "else float16 on a GPU, and none on a CPU)")
    add("--compile", phases=TRAIN, action="store_true",
        help="compile backbone and merges with torch.compile, which takes minutes in the first "
             "steps and needs a C++ compiler, or Triton on a GPU")
    add("--tensorboard", phases=TRAIN, action="store_true",
        help="also write event files for TensorBoard, into the folder tensorboard of the run")
    add("--skip_bad_images", phases=TRAIN, action="store_true",
        help="leave out images that cannot be read, and list them, instead of stopping")
    add("--resume_train", phases=TRAIN, idle_in=TEST + EVAL, nargs="?", const=LAST, metavar="FILE",
        help="resume a run that was stopped, with its own settings and data (default of FILE: "
             f"{LAST})")
    add("--seed", phases=TRAIN, type=seed, help="random seed, below 2^40 (default: 317)")


def _evaluation_flags(group) -> None:
    add = group("evaluation")
    add("--metric", phases=TRAIN + EVAL, choices=METRICS, default="voc07",
        help="AP metric: 11-point AP, area under the curve, or COCO (default: %(default)s)")
    add("--merge", phases=EVAL, choices=("auto", "yes", "no"), default="auto",
        help="merge patches before scoring (auto: if all ids are patches and there are labels of "
             "the full images)")
    add("--truth_dir", phases=EVAL, type=Path, metavar="DIR",
        help="folder of the labels of the full images, for merged results (default: the labels "
             "of the data)")
    add("--worst", phases=EVAL, type=natural, default=WORST, metavar="N",
        help="number of images in the error analysis, those that cost the most AP (default: "
             "%(default)s)")
    add("--against", phases=EVAL, type=Path, metavar="DIR",
        help="folder of Task1 files of the same images, such as the results of another model: show "
             "the differences of AP, with 95 %% confidence intervals")
    add("--show", phases=TEST, action="store_true", help="show each drawn image in a window")


def _prediction_flags(group) -> None:
    add = group("prediction")
    add("--source", phases=MODEL_FILE + EXPORT, nargs="+", metavar="PATH",
        help={"predict": "images, folders, glob patterns, or lists (.txt) of images",
              "benchmark": "images, folders, glob patterns, or lists (.txt) of images (default: "
                           "the sample set)",
              "export": "images for the comparison with the checkpoint: images, folders, glob "
                        "patterns, or lists (.txt)"})
    add("--output", phases=MODEL_FILE + EXPORT, type=Path, metavar="PATH",
        help={"predict": "folder of the results (default: result_predict)",
              "benchmark": "JSON file of the results (default: benchmark.json)",
              "export": "path of the exported file (default: next to the checkpoint, with the "
                        "suffix of the format)"})
    add("--formats", phases=PREDICT, type=formats, default=FORMATS, metavar="A,B",
        help=f"output formats (default: {','.join(FORMATS)}); as labels, to be corrected in a "
             f"tool: {', '.join(LABEL_FORMATS)}")
    add("--tile", phases=PREDICT, type=natural, metavar="PX",
        help="side of a window in input pixels, 0 for one window over the whole image (default: "
             "the model's input size; images that are hardly larger are processed as a whole, as "
             "in test)")
    add("--overlap", phases=PREDICT, type=natural, metavar="PX",
        help="overlap of neighboring windows, at least the length of an object (default: 100, or "
             "a sixth of the window if that is less)")
    add("--scales", phases=PREDICT, type=scales, metavar="S,S",
        help="scales at which each image is processed, such as 0.5,1 (default: the scale of the "
             "training images, or 1 if it is near 1 or not in the model file)")
    add("--gsd", phases=PREDICT, type=positive_float, metavar="M",
        help="ground sampling distance of the training images in meters per pixel, to which "
             "images with coordinates are rescaled")
    add("--crs", phases=PREDICT, metavar="CRS",
        help="coordinate reference system of images that do not name theirs, such as a JPEG with "
             "a world file (.jgw) but without a .prj: a code such as EPSG:32633, PROJ or WKT")
    add("--shard", phases=PREDICT, type=shard, metavar="I/N",
        help="process only part I of N, from 0 (default: torchrun's rank and world size)")
    add("--runtime", phases=MODEL_FILE, choices=tuple(RUNTIMES),
        help="runtime (default: that of the model file's format); openvino also runs ONNX files")


def _benchmark_flags(group) -> None:
    add = group("benchmark")
    add("--models", phases=BENCHMARK, nargs="+", type=Path, default=(), metavar="FILE",
        help="more model files, timed in turn with --weights")
    add("--runs", phases=BENCHMARK, type=positive, default=20, metavar="N",
        help="number of timed runs; the medians are shown (default: %(default)s)")


def _export_flags(group) -> None:
    add = group("export")
    add("--format", phases=EXPORT, choices=tuple(EXPORT_FORMATS),
        default="onnx",
        help="ONNX; a program of torch.export (.pt2); OpenVINO (.xml and .bin); or ONNX for "
             "TensorRT, and its engine if TensorRT is installed; or a checkpoint with the weights "
             "alone, without the state of the training (default: %(default)s)")
    add("--static", phases=EXPORT, type=positive, nargs=3, metavar=("H", "W", "B"),
        help="fixed height, width and batch size (default: dynamic)")
    add("--input", phases=EXPORT, choices=("float32", "uint8"), default="float32",
        help="input of the file: float32 [B, 3, H, W] in BGR, x / 255 - 0.5, or uint8 images "
             "[B, h, w, 3] of any size, which the file scales and pads (default: %(default)s)")
    add("--color", phases=EXPORT, choices=("BGR", "RGB"), default="BGR",
        help="channel order of --input uint8 (default: %(default)s)")
    add("--nms", phases=EXPORT, choices=("none", "graph"), default="none",
        help="graph: include NMS at --nms_thresh in the file (default: %(default)s)")
    add("--layout", phases=EXPORT, choices=("corners", "light-fork", "heads"), default="corners",
        help="outputs: corners, scores and labels; the light fork's rows [1, K, 12]; or the "
             "network's output maps without the decoder, for ncnn, TFLite and others (default: "
             "%(default)s)")
    add("--fix_conf", phases=EXPORT, action="store_true",
        help="output only detections with scores above --conf_thresh (default: above 0.01, so that "
             "whoever runs the file can choose)")
    add("--conf_input", phases=EXPORT, action="store_true",
        help="give the file a second input conf_thresh, a float32 scalar that must be fed: it "
             "outputs detections with higher scores")
    add("--half", phases=EXPORT, action="store_true", help="convert the network to float16")
    add("--int8", phases=EXPORT, action="store_true",
        help="quantize the network to int8, except for its first and last layers")
    add("--opset", phases=EXPORT, type=positive, metavar="N",
        help="ONNX opset of the file, from 13, for older or newer runtimes (default: 18)")
    add("--calibrate", phases=EXPORT, nargs="+", metavar="PATH",
        help="calibration images for --int8: images, folders, glob patterns or lists (default: "
             "the training images of --data_dir; the sample set for a model trained on it)")
    add("--check_images", phases=EXPORT, type=positive, default=16, metavar="N",
        help="number of images on which the file is compared with the checkpoint, from --source "
             "or --data_dir, else from the sample set (default: %(default)s)")
# fmt: on


FLAGS: tuple[Flag, ...] = tuple(_flags())
