"""Names of classes and images as file names: reversible, and never out of the folder."""

import random
import zipfile

import numpy as np
import pytest

from DOTA_devkit.class_lists import parse_class_list, read_class_file
from DOTA_devkit.commands import main
from DOTA_devkit.converters.rolabelimg import read_rolabelimg
from DOTA_devkit.dota_utils import Task2groundtruth_poly
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import (
    MAX_CLASS_NAME,
    MAX_IMAGE_ID,
    class_of,
    file_stem,
    name_of_stem,
    path_inside,
    result_name,
)
from DOTA_devkit.formats import DOTA_CLASSES, Task1, read_ids, read_labels, read_task1
from DOTA_devkit.scoring import load_detections, load_truth
from DOTA_devkit.submit import check_submission, write_submission
from structures.task1 import write_results

CLASSES = ("Hut/Tent", "x/../../../ESCAPED", "a\\b", "50%", "%2F", "ship")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        *((name, name) for name in DOTA_CLASSES["2.0"]),
        ("Truck w Box", "Truck w Box"),
        ("船.v2+x:y", "船.v2+x:y"),
        ("100%", "100%"),
        ("Hut/Tent", "Hut%2FTent"),
        ("../x", "..%2Fx"),
        ("a\\b", "a%5Cb"),
        ("a\nb\0", "a%0Ab%00"),
        ("%2F", "%252F"),
        ("%/", "%%2F"),
    ],
)
def test_file_stem(name, stem):
    assert file_stem(name) == stem
    assert name_of_stem(stem) == name


def test_file_names_round_trip():
    rng = random.Random(0)
    for _ in range(20_000):
        name = "".join(rng.choices("%/\\2F5c\n.a", k=rng.randrange(1, 9)))
        stem = file_stem(name)
        assert name_of_stem(stem) == name
        assert not set("/\\\n") & set(stem)


def test_escapes_of_others_stay():
    assert name_of_stem("a%41%20") == "a%41%20"
    assert class_of("Task2_Hut%2ftent.txt") == "Hut/tent"
    assert class_of("Task1_Task2_x.txt") == "Task2_x"


def table():
    return Task1(["a"], np.array([0.9]), np.array([[[0, 0], [9, 0], [9, 9], [0, 9]]], float))


def test_files_of_every_class_are_written_merged_scored_and_zipped(tmp_path, capsys):
    results, merged = tmp_path / "deep/results", tmp_path / "deep/merged"
    write_results(dict.fromkeys(CLASSES, table()), results)
    assert main(["merge", str(results), str(merged), "--nms_thresh", "0.1,Hut/Tent=0.3"]) == 0
    for folder in (results, merged):
        assert sorted(p.name for p in folder.iterdir()) == sorted(map(result_name, CLASSES))
        assert {class_of(path) for path in folder.iterdir()} == set(CLASSES)
        assert set(load_detections(folder, CLASSES)) == set(CLASSES)
        report = check_submission(folder, CLASSES, ["a"])
        assert not report.problems and set(report.detections.values()) == {1}
        write_submission(folder, tmp_path / "deep/all.zip", CLASSES)
        with zipfile.ZipFile(tmp_path / "deep/all.zip") as archive:
            assert archive.read("Task1_Hut%2FTent.txt") == (
                (folder / "Task1_Hut%2FTent.txt").read_bytes()
            )
    assert sorted(p.name for p in tmp_path.rglob("*") if p.suffix == ".txt") == sorted(
        2 * [result_name(name) for name in CLASSES]
    )
    labels = tmp_path / "labelTxt"
    labels.mkdir()
    (labels / "a.txt").write_text("0 0 9 0 9 9 0 9 Hut/Tent 0\n")
    capsys.readouterr()
    assert main(["evaluate", str(merged), str(labels)]) == 0
    row = next(row for row in capsys.readouterr().out.splitlines() if row.startswith("Hut/Tent"))
    assert row.split()[:4] == ["Hut/Tent", "1", "1", "100.00"]


def test_folder_of_class_with_slash_is_reported(tmp_path, capsys):
    (tmp_path / "in/Task1_car").mkdir(parents=True)
    for name in ("Task1_ship.txt", "Task1_car/van.txt"):
        (tmp_path / "in" / name).write_text("")
    target = f"{tmp_path}/in/Task1_car%2Fvan.txt"
    assert main(["merge", str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    assert f"rename {tmp_path}/in/Task1_car/van.txt to {target}" in capsys.readouterr().err
    for use in (load_detections, check_submission):
        with pytest.raises(InputError, match="Task1_car%2Fvan"):
            use(tmp_path / "in", ["ship", "car/van"])
    (tmp_path / "in/Task1_car/van.txt").rename(target)
    assert main(["merge", str(tmp_path / "in"), str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("name", ["../a", "x/../../a", "/tmp/a", "..\\a", "a\0"])
def test_ids_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"list\.txt: expected the id of an image"):
        path_inside(tmp_path, name, ".jpg", "list.txt")
    with pytest.raises(InputError, match="leads out of the folder"):
        load_truth(tmp_path, [name])


def test_ids_inside_the_folder(tmp_path):
    for name in ("a", "b/a", "a..b", "..."):
        assert path_inside(tmp_path, name, ".jpg") == tmp_path / f"{name}.jpg"


def test_ids_of_result_files_write_into_the_folder_only(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/Task1_ship.txt").write_text("../../a 0.9 0 0 9 0 9 9 0 9\n")
    with pytest.raises(InputError, match="leads out of the folder"):
        Task2groundtruth_poly(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


VOC = """<annotation>
<object><name>ship</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>
</object>
<object>
<name>{}</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>
</annotation>"""
BOX = "0 0 9 0 9 9 0 9"


@pytest.mark.parametrize(
    ("read", "text", "limit", "line"),
    [
        (read_labels, f"{BOX} ship 0\n{BOX} {{}} 0\n", MAX_CLASS_NAME, 2),
        (read_labels, f"{BOX} {{}}\n{BOX} ship\n", MAX_CLASS_NAME, 1),
        (read_labels, f"{BOX} ship 0\n\n{BOX} a {{}} 0\n", MAX_CLASS_NAME - 2, 3),  # two words
        (read_rolabelimg, VOC, MAX_CLASS_NAME, 4),
        (read_class_file, "ship\n\n{}\n", MAX_CLASS_NAME, 3),
        (read_ids, "a\n{}\nb", MAX_IMAGE_ID, 2),
        (read_task1, f"a 0.5 {BOX}\n{{}} 0.5 {BOX}\n", MAX_IMAGE_ID, 2),
    ],
)
def test_names_beyond_the_limit_are_refused_where_they_are_read(tmp_path, read, text, limit, line):
    path = tmp_path / "a.txt"
    for name in ("x" * limit, "é" * (limit // 2)):
        path.write_text(text.format(name), encoding="utf-8")
        read(path)
        path.write_text(text.format(f"{name}y"), encoding="utf-8")
        with pytest.raises(InputError, match=rf"a\.txt:{line}: expected .* bytes") as caught:
            read(path)
        assert len(str(caught.value)) < 400


def test_class_lists_of_any_number_of_short_names():
    names = tuple(f"class-{number}" for number in range(1000))  # as a path it would be too long
    assert parse_class_list(",".join(names)) == names
    with pytest.raises(InputError, match=f"class 2 of 3: .* at most {MAX_CLASS_NAME} bytes"):
        parse_class_list(f"a,{'b' * 5000},c")
