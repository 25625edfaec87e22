"""Compare recipes: train with each recipe and seed, and score the last epoch.

flags="--backbone mobilenetv2 --neck 64 --head_conv 64 --input_h 416 --input_w 416 --num_epoch 8"
python -m benchmarks.recipes mydata --flags "$flags"
python -m benchmarks.recipes mydata --flags "$flags" --recipes "rectangle;rectangle --ema 0"
python -m benchmarks.recipes mydata --flags "$flags" --recipes rectangle --without all

Each recipe is a value of --recipe, optionally followed by flags of --phase train. --without adds
the recipe `rectangle` without one of its parts, for each of those named (`benchmarks.parts` lists
them) or all. The table shows the mean over the seeds, and in brackets the value of each seed:
11-point AP50 (voc07), and AP50 and AP75 as the area under the curve (voc12), in percent. Runs that
are finished already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.parts import PARTS, check_part
from cli.recipes import DEFAULT, RECIPES
from DOTA_devkit.errors import InputError
from DOTA_devkit.tables import format_table

PROJECT = Path(__file__).parent.parent
COLUMNS = (("AP50", "voc07"), ("AP50", "voc12"), ("AP75", "voc12"))
"""The columns of the table: a column of the results of a metric."""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data_dir", type=Path, metavar="DIR", help="folder of the dataset, in DOTA layout")
    add("--recipes", default="rectangle;paper --init_lr 1e-3 --schedule cosine", metavar="A;B",
        help="recipes to compare (default: %(default)s)")  # fmt: skip
    add("--without", default="", metavar="A,B",
        help="parts of the recipe to leave out, one at a time, or 'all'")  # fmt: skip
    add("--seeds", type=_seeds, default="1,2", metavar="A,B",
        help="seeds of the runs (default: %(default)s)")  # fmt: skip
    add("--flags", default="", metavar="FLAGS", help="flags of --phase train for all recipes")
    add("--test_list", metavar="FILE", help="image ids to score on (default: test.txt or val.txt)")
    add("--output", type=Path, default=Path("recipes"), metavar="DIR",
        help="folder of the runs (default: %(default)s)")  # fmt: skip
    args = parser.parse_args()
    rows = []
    try:
        for candidate in candidates(args.recipes, args.without):
            scores = [score_run(args, candidate, seed) for seed in args.seeds]
            columns = zip(*scores, strict=True)
            rows.append([candidate.title, *map(_format_scores, columns)])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(format_table([("recipe", *map(" ".join, COLUMNS)), *rows]))
    return 0


@dataclass(frozen=True)
class Candidate:
    """What is compared: a recipe, with flags or without one of its parts.

    Attributes:
        flags: A value of --recipe, and maybe flags of --phase train.
        without: The part of `benchmarks.parts.PARTS` that is left out.
    """

    flags: tuple[str, ...]
    without: str | None = None

    @property
    def title(self) -> str:
        """What the table calls it."""
        return " ".join([*self.flags, *(["without", self.without] if self.without else [])])

    @property
    def trained(self) -> Candidate:
        """The candidate whose network this one detects with."""
        part = PARTS.get(self.without)
        return self if part is None or part.trained else Candidate(self.flags)

    @property
    def folder_name(self) -> str:
        """The name of its results, without characters that paths may not have."""
        words = (word.removeprefix("--").replace("/", ".") for word in self.title.split())
        return "_".join(words)

    def command(self, *arguments: object) -> list[str]:
        """Return the command of a phase."""
        program = [str(PROJECT / "main.py")]
        if self.without:
            program = ["-m", "benchmarks.parts", self.without]
        return [sys.executable, *program, *map(str, arguments)]


def candidates(recipes: str, without: str) -> list[Candidate]:
    """Return what the values of `--recipes` and `--without` ask for.

    Raises:
        InputError: There is no such part.
    """
    names = PARTS if without == "all" else filter(None, without.split(","))
    return [
        *(Candidate(tuple(shlex.split(recipe))) for recipe in recipes.split(";")),
        *(Candidate((DEFAULT,), check_part(name)) for name in names),
    ]


def score_run(args: argparse.Namespace, candidate: Candidate, seed: int) -> list[float]:
    """Train and evaluate, unless already done, and return the scores of `COLUMNS` in percent."""
    trained = candidate.trained
    folder = args.output / args.data_dir.name / f"{trained.folder_name}_seed{seed}"
    recipe = RECIPES.get(trained.flags[0])
    asked = {
        "data_dir": str(args.data_dir.resolve()),
        "flags": args.flags,
        "test_list": args.test_list,
        "recipe": None if recipe is None else asdict(recipe),
    }
    _check_settings(folder / "settings.json", asked)
    run = ["--data_dir", args.data_dir, "--run_dir", folder]
    flags = [*shlex.split(args.flags), "--recipe", *trained.flags, "--seed", str(seed)]
    test_list = ["--test_list", args.test_list] if args.test_list else []
    scores = []
    for column, metric in COLUMNS:
        only_detected = "" if trained == candidate else f"_without_{candidate.without}"
        report = folder / f"{metric}{only_detected}.json"
        if not report.is_file():
            if not (folder / "finished").is_file():
                _run(trained.command("--phase", "train", *run, "--overwrite", *flags))
                (folder / "settings.json").write_text(json.dumps(asked))
                (folder / "finished").touch()
            _run(candidate.command("--phase", "eval", *run, "--weights", "model_last.pth",
                                   "--metric", metric, *test_list))  # fmt: skip
            (folder / "result_dota" / "ap.json").replace(report)
        (total,) = (
            row for row in json.loads(report.read_text())["classes"] if row["class"] == "mean"
        )
        scores.append(100 * total[column])
    return scores


def _check_settings(path: Path, asked: Mapping[str, Any]) -> None:
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


def _run(command: Sequence[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    if subprocess.run(command, check=False, env=environment).returncode:
        raise InputError(f"this command failed: {shlex.join(command)}")


def _format_scores(values: Sequence[float]) -> str:
    return f"{mean(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})"


if __name__ == "__main__":
    sys.exit(main())
