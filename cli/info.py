"""The phase info: a network in figures, or a table of all backbones."""

from __future__ import annotations

import argparse
import logging

import torch

from cli.defaults import OWN_DATA
from cli.devices import torch_device
from cli.given import asked_classes
from cli.run_dir import RunDir
from cli.settings import check_flags, input_size
from cli.training import network
from deploy.benchmark import processor
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import DOTA_CLASSES
from DOTA_devkit.progress import progress
from DOTA_devkit.tables import format_table
from inference import network_ms
from models import BACKBONES, CTRBOX, build_model, read_checkpoint
from models.backbones import get_backbone
from models.info import describe

logger = logging.getLogger("bbavectors")

TIMED_RUNS = 5


def info(args: argparse.Namespace) -> None:
    """Show the parts of a network, its parameters and its cost, or a table of all backbones."""
    if args.all:
        if args.weights:
            raise InputError(
                "--all cannot be combined with --weights, which is one network: leave one out"
            )
        show_table(args)
        return
    if unused := sorted({"device", "threads"} & args.given):
        raise InputError(f"--{unused[0]} is for the times that --all measures: add --all")
    if args.weights:
        checkpoint = read_checkpoint(RunDir.of(args).checkpoint(args.weights))
        check_flags(args, checkpoint, asked_classes(args))
        model = build_model(checkpoint)
        input_hw = input_size(args, OWN_DATA, model.input_size)
    else:
        input_hw = input_size(args, OWN_DATA, None)
        model = new_network(args, input_hw)
    logger.info("%s", describe(model, input_hw))


def new_network(args: argparse.Namespace, input_hw: tuple[int, int]) -> CTRBOX:
    """Build the network that the flags describe, with random weights."""
    classes = asked_classes(args) or DOTA_CLASSES["1.0"]
    return network(args, classes, input_hw, args.head_conv or OWN_DATA.head_conv, "none")


def show_table(args: argparse.Namespace) -> None:
    """Show channels, parameters, GMAC and time of every backbone, in a network set by the flags."""
    input_hw, device = input_size(args, OWN_DATA, None), torch_device(args)
    if args.backbone:
        get_backbone(args.backbone)  # before the others are timed, which takes minutes
    names = list(dict.fromkeys([*BACKBONES, *([args.backbone] if args.backbone else [])]))
    rows = [("backbone", "channels at stride 4, 8, 16, 32", "parameters", "GMAC", "ms per image")]
    for name in progress(names, "time the backbones"):
        model = new_network(argparse.Namespace(**vars(args) | {"backbone": name}), input_hw)
        summary = describe(model, input_hw)
        channels = ", ".join(str(feature.shape[1]) for feature in summary.features)
        rows.append(
            (
                name,
                channels,
                f"{summary.parameters / 1e6:.1f} M",
                f"{summary.macs / 1e9:.1f}",
                f"{network_ms(model, input_hw, device, TIMED_RUNS):.1f}",
            )
        )
    neck = "as wide as the backbone's maps" if args.neck is None else f"{args.neck} channels wide"
    logger.info(
        "input %dx%d, %d classes, heads with %d hidden channels, merges %s\n%s\n"
        "ms: the network alone in PyTorch %s on %s, medians of %d runs",
        *input_hw, model.heads["hm"], model.head_conv, neck, format_table(rows),
        torch.__version__, hardware(device), TIMED_RUNS,
    )  # fmt: skip


def hardware(device: torch.device) -> str:
    """Name the GPU, or the processor with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, threads: {torch.get_num_threads()}"
