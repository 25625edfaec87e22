"""The report of a run, one HTML file."""

import math
import re
from pathlib import Path

import pytest

from DOTA_devkit.errors import InputError
from helpers.data_folders import line, make_dota
from helpers.validations import validation_of
from training.history import History
from training.report import Commands, number, percent, run_state, write_report
from training.settings import TrainSettings
from training.validation_files import write_validation

COMMANDS = Commands("go <on>", "in spite", "more", {"Test it": "eval 'a b'"})
SECTIONS = {"Model": {"backbone": "resnet18", "classes": ("ship", "<b>")}, "Data": {"bands": None}}
SPEED = [
    {"epoch": 1, "seconds": 60.0, "images_per_second": 2.0, "waiting": 0.5, "memory_mb": 100.4},
    {"epoch": 2, "seconds": 180.0, "images_per_second": 4.0, "waiting": 0.0, "memory_mb": 300.4},
]


@pytest.fixture
def plots(monkeypatch):
    """Return the scores that are plotted; the plot itself would take a second."""
    plotted = []

    def plot(scores, path):
        plotted.append(scores)
        Path(path).write_bytes(b"precision and recall")

    monkeypatch.setattr("training.report.plot_evaluation", plot)
    return plotted


@pytest.fixture
def run(tmp_path):
    """Return a folder with the validations of two epochs, and the history of the run."""
    make_dota(tmp_path / "data", {"a": [line(12, 20, 30, 20, "<ship>")]}, val="a")
    (tmp_path / "data/classes.txt").write_text("<ship>")
    for epoch, boxes in ((1, [(12, 20, 42, 40, 0.9, 0)]), (2, [])):
        validation = validation_of(tmp_path / "data", [boxes], [{"hm": float(epoch)}])
        write_validation(tmp_path / "validation", epoch, validation, 1)
    rows = [{"epoch": 1, "loss": 2.0, "ap": 1.0, "ap50_<ship>": 1.0}, {"epoch": 2, "loss": 1.0}]
    rows[1] |= {"ap": 0.25}
    return tmp_path, History(rows, SPEED)


def report(folder, history, commands=COMMANDS, **settings):
    write_report(folder / "report.html", history, TrainSettings(**settings), SECTIONS, commands)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_report_shows_the_best_epoch(run, plots):
    folder, history = run
    (folder / "curves.png").write_bytes(b"curves")
    (folder / "bad_images.txt").write_text("x: damaged\ny: damaged\n")
    text = report(folder, history, epochs=2)
    assert "Training report resnet18" in text
    assert "The best AP on the validation list is 1.0000, of epoch 1 (model_best.pth)." in text
    assert '<th scope="row">&lt;ship&gt;</th><td>1</td>' + 3 * "<td>100.0</td>" in text
    assert "a: loss 1.000, objects 1, detections 1" in text and "loss 2.000" not in text
    assert [scores.mean_ap[0] for scores in plots] == [1.0]
    assert text.count("data:image/png;base64,") == 2 and text.count("data:image/jpeg;base64,") == 2
    assert "2 images could not be read" in text and "steps were skipped" not in text
    # 60 and 180 seconds at 2 and 4 images a second
    for cell in ("4.0 min", "3.5", "12 %", "300 MB"):
        assert f"<td>{cell}</td>" in text
    for name, value in (("classes", "ship, &lt;b&gt;"), ("bands", "")):
        cell = f'<td><div class="prose">{value}</div></td>'
        assert f'<th scope="row">{name}</th>{cell}' in text


def test_report_loads_nothing(run, plots):
    text = report(*run, epochs=2)
    links = re.findall(r"""(?:src\s*=|href\s*=|url\()\s*["']?([^"')>\s]*)""", text)
    assert links and all(link.startswith("data:image/") for link in links)
    assert "<script" not in text and "<ship>" not in text and "<on>" not in text


def test_validation_of_the_best_epoch_is_missing(run, plots):
    """The run was resumed in another folder: the latest one of the run's epochs is shown."""
    folder, history = run
    (folder / "validation/epoch_1.json").unlink()
    (folder / "validation/epoch_2_worst_1.jpg").unlink()
    (folder / "validation/epoch_5.json").write_text("of a later epoch than the checkpoint")
    text = report(folder, history, epochs=9)
    assert "Epoch 2, the latest," in text
    assert "Worst images" not in text and "Images across the validation list" in text


def test_report_without_validation_and_matplotlib(tmp_path):
    text = report(tmp_path, History([{"epoch": 1, "loss": 2.0}]), commands=None, epochs=1)
    assert "The curves need matplotlib" in text and "The best AP" not in text
    assert not {"AP by class", "Precision and recall", "Next steps", "Speed"} & {
        *re.findall("<h2>(.*?)</h2>", text)
    }


def test_report_without_matplotlib(run, monkeypatch):
    def fail(scores, path):
        raise InputError("plots need matplotlib")

    monkeypatch.setattr("training.report.plot_evaluation", fail)
    text = report(*run, epochs=2)
    assert "<h2>AP by class</h2>" in text and "<h2>Precision and recall</h2>" not in text


@pytest.mark.parametrize(
    ("scores", "settings", "state", "words", "command"),
    [
        ([None], {"epochs": 1}, "finished", "finished after 1 epochs", "more"),
        ([None], {"epochs": 3}, "stopped", "stopped after 1 of 3 epochs", "go &lt;on&gt;"),
        ([0.5, 0.4], {"epochs": 3, "patience": 1}, "stalled", "ended early after 2 of 3",
         "in spite"),
        ([0.5, 0.6], {"epochs": 3, "patience": 1}, "stopped", "stopped after 2 of 3", "go &lt;on"),
        ([0.5, 0.4], {"epochs": 2, "patience": 1}, "finished", "finished after 2 epochs", "more"),
    ],
)  # fmt: skip
def test_state_and_command(tmp_path, scores, settings, state, words, command):
    rows = [
        {"epoch": number, "loss": 1.0} | ({} if ap is None else {"ap": ap})
        for number, ap in enumerate(scores, start=1)
    ]
    told, text = run_state(History(rows), TrainSettings(**settings))
    assert told == state and words in text
    page = report(tmp_path, History(rows), **settings)
    assert f"<pre>{command}" in page and "<pre>eval &#x27;a b&#x27;</pre>" in page
    assert page.count("<pre>") == 2


def test_numbers():
    assert [percent(0.1234), percent(math.nan)] == ["12.3", ""]
    assert [number(3), number(0.123456), number(math.nan)] == ["3", "0.1235", ""]
