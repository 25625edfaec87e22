"""The commands merge and evaluate: input, output, files and errors."""

import csv
import json

import cv2
import numpy as np
import pytest

from DOTA_devkit.commands import main
from DOTA_devkit.commands.arguments import class_thresholds
from helpers.data_folders import picture, write_image

SQUARE = "10 20 30 20 30 60 10 60"
BESIDE = "12 20 32 20 32 60 12 60"  # shares 18 of 22 columns with SQUARE: IoU 0.818
FAR = "110 20 130 20 130 60 110 60"


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def run(*arguments):
    return main([str(argument) for argument in arguments])


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


# --- merge ------------------------------------------------------------------------------------


def test_merge_as_recorded(shared, tmp_path, capsys):
    assert run("merge", shared / "fixtures/merge20/in", tmp_path / "out", "--workers", 2) == 0
    expected = shared / "fixtures/merge20/out"
    for path in expected.iterdir():
        assert lines(tmp_path / "out" / path.name) == lines(path)
    assert capsys.readouterr().out.splitlines()[-2].split() == ["all", "12000", "3869"]


def test_merge_several_folders_and_class_thresholds(tmp_path):
    one = write(
        tmp_path / "one",
        {
            "Task1_ship.txt": [f"P0__1__0___0 0.9 {SQUARE}"],
            "Task1_car.txt": [f"P0__1__0___0 0.9 {SQUARE}"],
        },
    )
    two = write(
        tmp_path / "two",
        {
            "Task1_ship.txt": [f"P0 0.8 {BESIDE}", f"P0__0.5__100___0 0.7 {SQUARE}"],
            "Task1_car.txt": [f"P0 0.8 {BESIDE}"],
        },
    )
    assert run("merge", one, two, tmp_path / "out", "--nms_thresh", "0.1,car=0.9") == 0
    assert lines(tmp_path / "out/Task1_ship.txt") == [
        "P0 0.9 10.0 20.0 30.0 20.0 30.0 60.0 10.0 60.0",
        "P0 0.7 220.0 40.0 260.0 40.0 260.0 120.0 220.0 120.0",
    ]
    assert len(lines(tmp_path / "out/Task1_car.txt")) == 2


@pytest.mark.parametrize(
    ("text", "thresholds"),
    [
        ("0.3", {"default": 0.3}),
        ("0.1, ship=0.2,大 车=0", {"default": 0.1, "ship": 0.2, "大 车": 0.0}),
        ("ship=0.2", {"ship": 0.2}),
    ],
)
def test_class_thresholds(text, thresholds):
    assert class_thresholds(text) == thresholds


@pytest.mark.parametrize("text", ["1.5", "x", "ship=", "=0.1", "0.1,0.2", "ship=0.1,ship=0.2"])
def test_invalid_class_thresholds(text, tmp_path):
    with pytest.raises(SystemExit):
        run("merge", tmp_path, tmp_path / "out", "--nms_thresh", text)


def test_merge_errors(tmp_path, capsys):
    results = write(tmp_path / "results", {"Task1_ship.txt": [f"P0 0.9 {SQUARE}"]})
    target = write(tmp_path / "out", {"Task1_ship.txt": ["mine"], "Task1_car.txt": ["other"]})
    assert run("merge", results, target) == 2
    assert "Task1_ship.txt would be replaced" in capsys.readouterr().err
    assert lines(target / "Task1_ship.txt") == ["mine"]
    assert run("merge", results, target, "--overwrite") == 0
    assert lines(target / "Task1_car.txt") == ["other"]
    assert run("merge", results, results, "--overwrite") == 2
    assert "must be different folders" in capsys.readouterr().err
    assert run("merge", tmp_path / "none", tmp_path / "new") == 2
    assert run("merge", results, tmp_path / "new", "--nms_thresh", "boat=0.2") == 2
    assert "iou_threshold is given for boat" in capsys.readouterr().err
    write(results, {"Task1_ship.txt": [f"P0 0.9 {SQUARE}", "P0 nan 1 2 3 4 5 6 7 8"]})
    assert run("merge", results, tmp_path / "new") == 2
    assert "Task1_ship.txt:2: " in capsys.readouterr().err


# --- evaluate ---------------------------------------------------------------------------------


@pytest.fixture
def labels(tmp_path):
    return write(
        tmp_path / "labelTxt",
        {
            "P0.txt": [f"{SQUARE} ship 0", f"{FAR} ship 0", f"{SQUARE} car 0"],
            "P1.txt": [f"{SQUARE} ship 1"],
            "P2.txt": [],
        },
    )


def table(text):
    """Rows of the printed table: first word -> the other words."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()}


# The order of equal scores, which is not recorded, changes AP, mostly that of 11 points (scoring
# itself has exact tests); coco has different matching and 101 points.
@pytest.mark.parametrize(("metric", "tolerance"), [("voc07", 3), ("voc12", 0.35), ("coco", 1.5)])
def test_evaluate_near_recorded_ap(shared, capsys, metric, tolerance):
    folder = shared / "fixtures/voc50"
    recorded = json.loads((folder / "ap.json").read_text())
    arguments = [
        "evaluate",
        folder / "det",
        folder / "labelTxt",
        "--list",
        folder / "valset.txt",
        "--metric",
        metric,
        "--iou",
        "0.5,0.75",
    ]
    assert run(*arguments) == 0
    rows = table(capsys.readouterr().out)
    titles = ["AP", "AP50", "AP75"] if metric == "coco" else ["AP50", "AP75"]
    assert rows["class"][2 : 2 + len(titles)] == titles
    column = rows["class"].index("AP50")
    suffix = "07" if metric == "voc07" else "area"
    for name in ("plane", "ship", "harbor"):
        assert float(rows[name][column]) == pytest.approx(
            100 * recorded[f"{name}_0.5_{suffix}"], abs=tolerance
        )
        assert float(rows[name][column + 1]) == pytest.approx(
            100 * recorded[f"{name}_0.75_{suffix}"], abs=tolerance
        )


def test_evaluate_merges_patch_results_first(tmp_path, labels, capsys):
    results = write(
        tmp_path / "results",
        {
            # one object detected on two patches, one at half size, one false positive
            "Task1_ship.txt": [
                f"P0__1__0___0 0.9 {SQUARE}",
                f"P0__1__5___0 0.8 {' '.join(str(v) for v in (5, 20, 25, 20, 25, 60, 5, 60))}",
                "P0__0.5__50___0 0.7 5 10 15 10 15 30 5 30",
                f"P2__1__0___0 0.1 {SQUARE}",
            ],
            "Task1_car.txt": [f"P0__1__0___0 0.9 {SQUARE}"],
        },
    )
    assert run("evaluate", results, labels) == 0
    out = capsys.readouterr().out
    assert "ids are patches (P0__0.5__50___0), the labels are of whole images: merging" in out
    rows = table(out)
    assert rows["ship"][:3] == ["2", "3", "100.00"]
    assert rows["mean"][2] == "100.00"
    # The same if merged by the command and then scored.
    assert run("merge", results, tmp_path / "merged") == 0
    assert run("evaluate", tmp_path / "merged", labels) == 0
    out = capsys.readouterr().out
    assert "merging" not in out and table(out)["ship"] == rows["ship"]


def test_evaluate_patch_labels_without_merging(tmp_path, capsys):
    labels = write(tmp_path / "labelTxt", {"P0__1__0___0.txt": [f"{SQUARE} ship 0"]})
    results = write(tmp_path / "r", {"Task1_ship.txt": [f"P0__1__0___0 0.9 {SQUARE}"]})
    assert run("evaluate", results, labels) == 0
    out = capsys.readouterr().out
    assert "merging" not in out
    assert table(out)["ship"][2] == "100.00"


def test_patches_beside_those_that_are_labeled_are_not_merged(tmp_path, capsys):
    """A list of some of the patches: the others are ignored, as they were not asked for."""
    names = [f"P0__1__{x}___0" for x in (0, 500, 1000)]
    labels = write(tmp_path / "labelTxt", {f"{n}.txt": [f"{SQUARE} ship 0"] for n in names})
    results = write(tmp_path / "r", {"Task1_ship.txt": [f"{n} 0.9 {SQUARE}" for n in names]})
    (tmp_path / "val.txt").write_text("\n".join(names[:2]))
    assert run("evaluate", results, labels, "--list", tmp_path / "val.txt") == 0
    out = capsys.readouterr().out
    assert "merging" not in out and table(out)["ship"][:3] == ["2", "2", "100.00"]


@pytest.mark.parametrize(
    ("iou", "shown"), [("0.3,0.4,0.6", {"AP30", "AP40", "AP60"}), ("0.5,0.75", {"AP50", "AP75"})]
)
def test_thresholds_that_are_asked_for_are_shown(tmp_path, labels, capsys, iou, shown):
    results = write(tmp_path / "results", {"Task1_ship.txt": [f"P0 0.9 {SQUARE}"]})
    assert run("evaluate", results, labels, "--iou", iou) == 0
    header = next(line for line in capsys.readouterr().out.splitlines() if "best F1" in line)
    assert shown <= set(header.split())


def test_an_iou_in_percent_is_refused(tmp_path, labels, capsys):
    results = write(tmp_path / "results", {"Task1_ship.txt": [f"P0 0.9 {SQUARE}"]})
    with pytest.raises(SystemExit):
        run("evaluate", results, labels, "--iou", "50")
    assert "'50' is not a list of numbers above 0 and below 1" in capsys.readouterr().err


def test_hidden_files_beside_the_labels_are_no_labels(tmp_path, labels, capsys):
    """macOS puts ._P0.txt beside P0.txt on disks of other systems."""
    (labels / "._P0.txt").write_bytes(b"\0\5\x16\7")
    results = write(tmp_path / "results", {"Task1_ship.txt": [f"P0 0.9 {SQUARE}"]})
    assert run("evaluate", results, labels) == 0
    assert table(capsys.readouterr().out)["ship"][:2] == ["2", "1"]


def test_evaluate_task2(tmp_path, labels, capsys):
    results = write(tmp_path / "results", {"Task2_ship.txt": ["P0 0.9 10 20 30 60"]})
    assert run("evaluate", results, labels, "--task", 2) == 0
    assert table(capsys.readouterr().out)["ship"][:2] == ["2", "1"]
    assert run("evaluate", results, labels) == 2
    assert "expected files such as Task1_" in capsys.readouterr().err


def test_evaluate_writes_files(tmp_path, labels):
    results = write(tmp_path / "results", {"Task1_ship.txt": [f"P0 0.9 {SQUARE}"]})
    files = {kind: tmp_path / f"ap.{kind}" for kind in ("csv", "json", "png")}
    arguments = [
        "evaluate",
        results,
        labels,
        "--csv",
        files["csv"],
        "--json",
        files["json"],
        "--plot",
        files["png"],
        "--iou",
        "0.5,0.75",
    ]
    assert run(*arguments) == 0
    with open(files["csv"], newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert float(rows["ship"]["AP50"]) == pytest.approx(6 / 11)  # one of two objects, 11 points
    assert json.loads(files["json"].read_text())["iou_thresholds"] == [0.5, 0.75]
    assert np.ptp(cv2.imread(str(files["png"]))) > 0
    before = files["csv"].read_bytes()
    files["csv"].write_text("mine")
    assert run(*arguments) == 2
    assert files["csv"].read_text() == "mine"
    assert run(*arguments, "--overwrite") == 0
    assert files["csv"].read_bytes() == before


@pytest.mark.parametrize(
    ("options", "class_file", "shown"),
    [
        ([], None, ["car", "plane", "ship"]),  # in labels or results; no DOTA order applies
        (["--classes", "ship"], None, ["ship"]),
        ([], "ship\ncar\n", ["ship", "car"]),
        (["--classes", "car"], "ship\n", ["car"]),
    ],
)
def test_evaluate_classes(tmp_path, labels, capsys, options, class_file, shown):
    results = write(
        tmp_path / "results",
        {f"Task1_{name}.txt": [f"P0 0.9 {SQUARE}"] for name in ("ship", "car", "plane")},
    )
    if class_file:
        (tmp_path / "classes.txt").write_text(class_file)
    assert run("evaluate", results, labels, *options) == 0
    out = capsys.readouterr().out
    rows = table(out)
    assert run("evaluate", results, labels.parent, *options) == 0  # the data folder is accepted too
    assert capsys.readouterr().out == out
    assert [name for name in rows if name in ("car", "plane", "ship")] == shown
    if "plane" in shown:  # without objects: no AP, and not in the mean
        assert rows["plane"][2] == "-"
        assert rows["mean"][2] != "-"


def test_evaluate_shows_dota_classes_in_dota_order(tmp_path, capsys):
    labels = write(tmp_path / "labelTxt", {"P0.txt": [f"{SQUARE} ship 0", f"{FAR} plane 0"]})
    results = write(tmp_path / "r", {"Task1_harbor.txt": [f"P0 0.9 {SQUARE}"]})
    assert run("evaluate", results, labels) == 0
    rows = table(capsys.readouterr().out)
    assert [n for n in rows if n in ("ship", "plane", "harbor")] == ["plane", "ship", "harbor"]


def test_evaluate_list_of_images(tmp_path, labels, capsys, caplog):
    results = write(tmp_path / "r", {"Task1_ship.txt": [f"P0 0.9 {SQUARE}", f"P9 0.9 {SQUARE}"]})
    ids = tmp_path / "test.txt"
    ids.write_text("P0.png\r\n\r\n")
    assert run("evaluate", results, labels, "--list", ids) == 0
    assert "1 images" in capsys.readouterr().out
    assert "1 detections on images that are not listed" in caplog.text
    ids.write_text("P0\nP7\n")
    assert run("evaluate", results, labels, "--list", ids) == 2
    assert "image P7 is listed, but has no label file" in capsys.readouterr().err


def test_evaluate_errors(tmp_path, labels, capsys):
    results = write(tmp_path / "r", {"Task1_ship.txt": ["P0 0.9 1 2 3"]})
    assert run("evaluate", results, labels) == 2
    assert "Task1_ship.txt:1: " in capsys.readouterr().err
    assert run("evaluate", results, tmp_path / "none") == 2
    assert "no such folder of labels" in capsys.readouterr().err
    assert run("evaluate", tmp_path / "none", labels) == 2
    assert run("evaluate", results, labels, "--list", tmp_path / "none.txt") == 2
    error = capsys.readouterr().err
    assert "none.txt" in error and "Traceback" not in error


# --- errors and comparison --------------------------------------------------------------------


def test_evaluate_errors_and_against(tmp_path, labels, capsys):
    """Other results are merged like the results, and the numbers of the table stay."""
    images = write_image(tmp_path / "images" / "P0.png", picture(200, 100)).parent
    results = write(tmp_path / "r", {"Task1_ship.txt": [f"P0__1__0___0 0.9 {SQUARE}"]})
    other = write(tmp_path / "o", {"Task1_ship.txt": [f"P2 0.9 {SQUARE}"]})
    arguments = ["evaluate", results, labels]
    assert run(*arguments) == 0
    before = table(capsys.readouterr().out)
    arguments += ["--errors", tmp_path / "e.html", "--against", other, "--resamples", 20]
    assert run(*arguments) == 0
    out = capsys.readouterr().out
    first = table(out.partition("against")[0])
    assert first["ship"] == before["ship"] and first["mean"] == before["mean"]
    ships = [line.split() for line in out.splitlines() if line.startswith("ship")]
    # Objects, images, AP, against, difference: one of two ships at 11 points, none.
    assert ships[1][1:6] == ["2", "1", "54.55", "0.00", "54.55"]
    assert ships[2][:3] == ["ship", "2", "54.55"] and "(20 draws of 3 images)" in out
    assert f"written: {tmp_path / 'e.html'}" in out and f"written: {tmp_path / 'e.json'}" in out
    numbers = json.loads((tmp_path / "e.json").read_text())
    assert numbers["comparison"]["resamples"] == 20 and numbers["metric"] == "voc07"
    assert (tmp_path / "e.html").read_text().count("<img") == 1
    assert run(*arguments) == 2
    assert "e.html and 1 more would be replaced" in capsys.readouterr().err
    assert run(*arguments, "--overwrite", "--images", images, "--worst", 0) == 0
    assert "<img" not in (tmp_path / "e.html").read_text()


def test_evaluate_errors_of_bad_input(tmp_path, labels, capsys):
    results = write(tmp_path / "r", {"Task1_ship.txt": [f"P0 0.9 {SQUARE}"]})
    others = write(tmp_path / "o", {"Task1_ship.txt": [f"Q7 0.9 {SQUARE}"]})
    for arguments, message in (
        (["--errors", tmp_path / "e.json"], f"--errors {tmp_path / 'e.json'}: expected the name"),
        (["--against", others], "--against: expected results of the images that are scored"),
        (["--against", tmp_path / "none"], "expected files such as Task1_"),
        (["--against", results, "--resamples", 0], "--resamples must be at least 1, got 0"),
        (["--errors", tmp_path / "e.html", "--images", tmp_path / "none"], "no such folder of"),
    ):
        assert run("evaluate", results, labels, *arguments) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("e.*"))


def test_evaluate_list_that_leads_out_of_the_folder(tmp_path, labels, capsys):
    """Pictures are looked up by ids as well; none of them may name a file elsewhere."""
    results = write(tmp_path / "r", {"Task1_ship.txt": [f"P0 0.9 {SQUARE}"]})
    write(tmp_path / "lists", {"test.txt": ["../labelTxt/P0"]})
    arguments = ["--list", tmp_path / "lists/test.txt", "--errors", tmp_path / "e.html"]
    assert run("evaluate", results, labels, *arguments) == 2
    assert "leads out of the folder" in capsys.readouterr().err
    assert not (tmp_path / "e.html").exists()
