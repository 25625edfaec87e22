"""Compare recipes: train with each and each seed, and score the last epoch once.

python -m benchmarks.recipes mydata --flags "--backbone mobilenetv2 --num_epoch 8"
python -m benchmarks.recipes mydata --recipes "rectangle;rectangle --ema 0;paper --init_lr 1e-3"

Each recipe is the value of --recipe, and flags of --phase train behind it. The table has the mean
of the seeds and in brackets each of them: AP at an overlap of 0.5 in 11 points (voc07), and at 0.75
as area under the curve (voc12), in percent. Runs that are there already are not made again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from statistics import mean

from DOTA_devkit.errors import InputError
from DOTA_devkit.tables import format_table

MAIN = Path(__file__).parent.parent / "main.py"
COLUMNS = {"voc07": "AP50", "voc12": "AP75"}
"""Metric -> which of its columns is shown."""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data_dir", type=Path, metavar="DIR", help="folder of the data, in DOTA layout")
    add("--recipes", default="rectangle;paper", metavar="A;B", help="(default: %(default)s)")
    add("--seeds", default="1,2", metavar="A,B", help="(default: %(default)s)")
    add("--flags", default="", metavar="FLAGS", help="of --phase train, for all recipes")
    add("--test_list", metavar="FILE", help="image ids to score on (default: test.txt or val.txt)")
    add("--output", type=Path, default=Path("recipes"), metavar="DIR",
        help="folder of the runs (default: %(default)s)")  # fmt: skip
    args = parser.parse_args()
    rows = []
    try:
        for recipe in args.recipes.split(";"):
            scores = [score_run(args, recipe, int(seed)) for seed in args.seeds.split(",")]
            rows.append([recipe, *(_column([one[name] for one in scores]) for name in COLUMNS)])
    except (InputError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(format_table([("recipe", *(f"{COLUMNS[name]} {name}" for name in COLUMNS)), *rows]))
    return 0


def score_run(args: argparse.Namespace, recipe: str, seed: int) -> dict[str, float]:
    """Train and evaluate, unless that is done, and return the scores in percent by metric."""
    name = "_".join(recipe.replace("-", "").replace("/", ".").split())
    folder = args.output / args.data_dir.name / f"{name}_seed{seed}"
    run = ["--data_dir", args.data_dir, "--run_dir", folder]
    flags = [*shlex.split(args.flags), "--recipe", *shlex.split(recipe), "--seed", str(seed)]
    test_list = ["--test_list", args.test_list] if args.test_list else []
    scores = {}
    for metric, column in COLUMNS.items():
        report = folder / f"{metric}.json"
        if not report.is_file():
            if not (folder / "finished").is_file():
                _run("--phase", "train", *run, "--overwrite", *flags)
                (folder / "finished").touch()
            _run("--phase", "eval", *run, "--weights", "model_last.pth", "--metric", metric,
                 *test_list)  # fmt: skip
            (folder / "result_dota" / "ap.json").replace(report)
        (total,) = (
            row for row in json.loads(report.read_text())["classes"] if row["class"] == "mean"
        )
        scores[metric] = 100 * total[column]
    return scores


def _run(*words: object) -> None:
    command = [sys.executable, str(MAIN), *map(str, words)]
    if subprocess.run(command, check=False).returncode:
        raise InputError(f"this command failed: {shlex.join(command)}")


def _column(values: list[float]) -> str:
    return f"{mean(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})"


if __name__ == "__main__":
    sys.exit(main())
