"""The page on decoding: its code in each language finds what the decoder finds."""

import re
import shutil
import subprocess

import numpy as np
import pytest
import torch

from decoder import DecDecoder
from helpers.paths import ROOT
from structures.defaults import CONF_THRESH, THETA_THRESH
from structures.defaults import K as DEFAULT_K

PAGE = (ROOT / "docs/decoding.md").read_text(encoding="utf-8")
CODE = dict(re.findall(r"```(python|cpp|js)\n(.*?)```", PAGE, re.DOTALL))
HEADS = {"hm": 3, "wh": 10, "reg": 2, "cls_theta": 1}
CASES = [  # height, width, levels of the scores, threshold, K
    (9, 14, 4, 0.3, 50),  # many ties
    (9, 14, 1000, 0.0, 500),  # all peaks
    (9, 14, 1000, 0.3, 3),  # more than K
    (1, 1, 1000, 0.0, 5),  # one cell
    (6, 5, 4, 0.99, 5),  # nothing
]
THETA = 0.4

CPP_MAIN = """
#include <cstdio>
#include <cstdlib>
int main(int, char** argv) {
  const int height = atoi(argv[1]), width = atoi(argv[2]), area = height * width;
  std::vector<float> maps(16 * area);
  if (fread(maps.data(), sizeof(float), maps.size(), stdin) != maps.size()) return 1;
  const float* m = maps.data();
  for (const Box& box : decode(m, m + 3 * area, m + 13 * area, m + 15 * area, 3, height, width,
                               atof(argv[3]), atof(argv[4]), atoi(argv[5]))) {
    for (auto& corner : box.corners) printf("%.9g %.9g ", corner[0], corner[1]);
    printf("%.9g %d\\n", box.score, box.label);
  }
}
"""
JS_MAIN = """
const [height, width, conf, theta, K] = process.argv.slice(2).map(Number);
const bytes = require("fs").readFileSync(0), area = height * width;
const all = new Float32Array(bytes.buffer, bytes.byteOffset, 16 * area);
const maps = [[0, 3], [3, 13], [13, 15], [15, 16]].map(([a, b]) => all.slice(a * area, b * area));
for (const box of decode(...maps, 3, height, width, conf, theta, K))
  console.log([...box.corners.flat(), box.score, box.label].join(" "));
"""


def random_maps(height, width, levels):
    """Return maps whose scores have few levels; `wh` is not finite in two cells."""
    rng = np.random.default_rng(levels)
    maps = {name: rng.random((count, height, width), np.float32) for name, count in HEADS.items()}
    maps["hm"] = rng.integers(0, levels + 1, maps["hm"].shape).astype(np.float32) / (levels + 1)
    maps["wh"] = rng.normal(0, 3, maps["wh"].shape).astype(np.float32)
    if height > 1:
        maps["wh"][:, 0, 0], maps["wh"][:, -1, -1] = np.nan, np.inf
    return maps


def python_rows(maps, conf, K, folder):
    names = {}
    exec(compile(CODE["python"], "docs/decoding.md", "exec"), names)
    corners, scores, labels = names["decode"](*maps.values(), conf, THETA, K)
    return np.column_stack([corners.reshape(-1, 8), scores, labels])


def rows_of_program(command, maps, conf, K):
    height, width = maps["hm"].shape[1:]
    done = subprocess.run(
        [*command, *map(str, (height, width, conf, THETA, K))], check=True, capture_output=True,
        input=b"".join(values.tobytes() for values in maps.values()),
    )  # fmt: skip
    lines = done.stdout.decode().splitlines()
    return np.array([line.split() for line in lines], float).reshape(-1, 10)


def cpp_rows(maps, conf, K, folder):
    program = folder / "decode"
    if not program.exists():
        source = folder / "decode.cpp"
        source.write_text(CODE["cpp"] + CPP_MAIN)
        subprocess.run(["g++", "-std=c++11", "-Wall", "-Werror", source, "-o", program], check=True)
    return rows_of_program([program], maps, conf, K)


def js_rows(maps, conf, K, folder):
    source = folder / "decode.js"
    source.write_text(CODE["js"] + JS_MAIN)
    return rows_of_program(["node", source], maps, conf, K)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder in which the C++ code is compiled once."""
    return tmp_path_factory.mktemp("decode")


@pytest.mark.parametrize(
    ("rows_of", "program"),
    [(python_rows, "python3"), (cpp_rows, "g++"), (js_rows, "node")],
    ids=["python", "cpp", "js"],
)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_code_on_the_page_equals_the_decoder(folder, rows_of, program, case):
    if rows_of is not python_rows and shutil.which(program) is None:
        pytest.skip(f"no {program}")
    height, width, levels, conf, K = case
    maps = random_maps(height, width, levels)
    (expected,) = DecDecoder(K, conf, 3, THETA).decode(
        {name: torch.from_numpy(values)[None] for name, values in maps.items()}
    )
    assert bool(len(expected)) == (conf < 0.9)
    rows = rows_of(maps, conf, K, folder)
    assert len(rows) == len(expected)
    np.testing.assert_array_equal(rows[:, 9], expected.labels)
    np.testing.assert_allclose(rows[:, 8], expected.scores, rtol=1e-6)
    np.testing.assert_allclose(rows[:, :8].reshape(-1, 4, 2), expected.corners, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "default"),
    [("conf_?[tT]hresh", CONF_THRESH), ("theta_?[tT]hresh", THETA_THRESH), ("K", DEFAULT_K)],
)
def test_code_on_the_page_has_the_default_settings(name, default):
    for language, code in CODE.items():
        (value,) = re.findall(rf"\b{name} ?= ?([\d.]+)", code)
        assert float(value) == default, language
