"""Compare recipes: train with each recipe and seed, and score the last epoch.

flags="--backbone mobilenetv2 --neck 64 --head_conv 64 --input_h 416 --input_w 416 --num_epoch 8"
python -m benchmarks.recipes mydata --flags "$flags"
python -m benchmarks.recipes mydata --flags "$flags" --recipes "rectangle;rectangle --ema 0"

Each recipe is a value of --recipe, optionally followed by flags of --phase train. The table shows
the mean over the seeds, and in brackets the value of each seed: 11-point AP50 (voc07) and AP75 as
the area under the curve (voc12), in percent. Runs that are finished already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from DOTA_devkit.errors import InputError
from DOTA_devkit.tables import format_table

MAIN = Path(__file__).parent.parent / "main.py"
COLUMNS = {"voc07": "AP50", "voc12": "AP75"}
"""Metric -> the column of its results that is shown."""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data_dir", type=Path, metavar="DIR", help="folder of the dataset, in DOTA layout")
    add("--recipes", default="rectangle;paper --init_lr 1e-3 --schedule cosine", metavar="A;B",
        help="recipes to compare (default: %(default)s)")  # fmt: skip
    add("--seeds", type=_seeds, default="1,2", metavar="A,B",
        help="seeds of the runs (default: %(default)s)")  # fmt: skip
    add("--flags", default="", metavar="FLAGS", help="flags of --phase train for all recipes")
    add("--test_list", metavar="FILE", help="image ids to score on (default: test.txt or val.txt)")
    add("--output", type=Path, default=Path("recipes"), metavar="DIR",
        help="folder of the runs (default: %(default)s)")  # fmt: skip
    args = parser.parse_args()
    rows = []
    try:
        for recipe in args.recipes.split(";"):
            scores = [score_run(args, recipe, seed) for seed in args.seeds]
            rows.append(
                [recipe, *(_format_scores([one[name] for one in scores]) for name in COLUMNS)]
            )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(format_table([("recipe", *(f"{COLUMNS[name]} {name}" for name in COLUMNS)), *rows]))
    return 0


def score_run(args: argparse.Namespace, recipe: str, seed: int) -> dict[str, float]:
    """Train and evaluate, unless already done, and return metric -> score in percent."""
    name = "_".join(word.removeprefix("--").replace("/", ".") for word in recipe.split())
    folder = args.output / args.data_dir.name / f"{name}_seed{seed}"
    settings = folder / "settings.json"
    asked = {
        "data_dir": str(args.data_dir.resolve()), "flags": args.flags, "test_list": args.test_list
    }  # fmt: skip
    _check_settings(settings, asked)
    run = ["--data_dir", args.data_dir, "--run_dir", folder]
    flags = [*shlex.split(args.flags), "--recipe", *shlex.split(recipe), "--seed", str(seed)]
    test_list = ["--test_list", args.test_list] if args.test_list else []
    scores = {}
    for metric, column in COLUMNS.items():
        report = folder / f"{metric}.json"
        if not report.is_file():
            if not (folder / "finished").is_file():
                _run("--phase", "train", *run, "--overwrite", *flags)
                settings.write_text(json.dumps(asked))
                (folder / "finished").touch()
            _run("--phase", "eval", *run, "--weights", "model_last.pth", "--metric", metric,
                 *test_list)  # fmt: skip
            (folder / "result_dota" / "ap.json").replace(report)
        (total,) = (
            row for row in json.loads(report.read_text())["classes"] if row["class"] == "mean"
        )
        scores[metric] = 100 * total[column]
    return scores


def _check_settings(path: Path, asked: Mapping[str, str | None]) -> None:
    """Compare the settings of a finished run, if there is one, with those that are asked for.

    Raises:
        InputError: The run has others, or none, as those of earlier versions.
    """
    if not (path.parent / "finished").is_file():
        return
    found = path.read_text() if path.is_file() else f"no {path.name}"
    if found != json.dumps(asked):
        raise InputError(
            f"{path.parent} contains a run with {found}, but {json.dumps(asked)} is asked for: "
            "choose another --output"
        )


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"whole numbers separated by commas expected, got {text!r}"
        ) from None


def _run(*arguments: object) -> None:
    command = [sys.executable, str(MAIN), *map(str, arguments)]
    if subprocess.run(command, check=False).returncode:
        raise InputError(f"this command failed: {shlex.join(command)}")


def _format_scores(values: list[float]) -> str:
    return f"{mean(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})"


if __name__ == "__main__":
    sys.exit(main())
