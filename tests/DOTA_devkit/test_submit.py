"""What the DOTA server would reject or score too low, and the zip for it."""

import zipfile

import pytest

from DOTA_devkit.commands import main
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import DOTA_CLASSES
from DOTA_devkit.submit import TEST_IMAGES, check_submission, write_submission

IDS = [f"P{i:04}" for i in range(20)]
LINE = "{} 0.9 1.0 2.0 3.0 2.0 3.0 4.0 1.0 4.0\n"


@pytest.fixture
def results(tmp_path):
    """A folder that is ready to submit: a plane on every image, the other classes empty."""
    folder = tmp_path / "merged"
    folder.mkdir()
    for name in DOTA_CLASSES["1.0"]:
        (folder / f"Task1_{name}.txt").write_text("")
    (folder / "Task1_plane.txt").write_text("".join(LINE.format(i) for i in IDS))
    return folder


def problems(results, **settings):
    return check_submission(results, **{"image_ids": IDS, **settings}).problems


def test_check_accepts_a_good_folder(results):
    report = check_submission(results, image_ids=IDS)
    assert report.problems == []
    assert report.detections["plane"] == 20
    assert list(report.detections) == list(DOTA_CLASSES["1.0"])
    assert (report.images, report.expected_images) == (20, 20)
    assert "images with detections: 20 of 20" in report.table()


def test_check_ignores_other_files(results):
    (results / "notes.txt").write_text("x")
    assert problems(results) == []


def test_check_finds_a_missing_file(results):
    (results / "Task1_ship.txt").unlink()
    (found,) = problems(results)
    assert "1 of 15 files are missing: Task1_ship.txt" in found


def test_check_finds_a_file_of_no_class(results):
    (results / "Task1_boat.txt").write_text("")
    (found,) = problems(results)
    assert "1 files belong to no class of this release: Task1_boat.txt" in found


@pytest.mark.parametrize(("version", "files"), [("1.5", 16), ("2.0", 18)])
def test_check_recognizes_other_releases(results, version, files):
    for name in DOTA_CLASSES[version][15:]:
        (results / f"Task1_{name}.txt").write_text("")
    (found,) = problems(results)
    assert f"they are the files of DOTA {version}: give `classes` of that release" in found
    assert len(DOTA_CLASSES[version]) == files
    assert problems(results, classes=DOTA_CLASSES[version]) == []


def test_check_finds_patch_ids(results):
    text = "".join(LINE.format(f"{i}__1__0___500") for i in IDS)
    (results / "Task1_plane.txt").write_text(text)
    (found,) = problems(results)
    assert "20 ids are patches (P0000__1__0___500): merge the results first" in found


def test_check_accepts_listed_ids_that_look_like_patches(results):
    ids = [f"{i}__1__0___500" for i in IDS]
    (results / "Task1_plane.txt").write_text("".join(map(LINE.format, ids)))
    assert problems(results, image_ids=ids) == []


def test_check_finds_an_unlisted_id(results):
    with open(results / "Task1_ship.txt", "a") as file:
        file.write(LINE.format("P9999"))
    (found,) = problems(results)
    assert "Task1_ship.txt: 1 ids are not in the list (P9999)" in found


@pytest.mark.parametrize(
    ("count", "min_images", "fit"),
    [(10, 0.9, False), (17, 0.9, False), (18, 0.9, True), (10, 0.5, True), (0, 0.9, False)],
)
def test_check_finds_missing_test_images(results, count, min_images, fit):
    (results / "Task1_plane.txt").write_text("".join(LINE.format(i) for i in IDS[:count]))
    found = problems(results, min_images=min_images)
    assert (found == []) == fit
    if not fit:
        assert f"only {count} of 20 test images have a detection" in found[0]


def test_check_with_the_number_of_images_only(results):
    assert check_submission(results, expected_images=20).problems == []
    (found,) = check_submission(results, expected_images=937).problems
    assert "only 20 of 937" in found
    assert check_submission(results).problems == []  # no number to compare with
    assert TEST_IMAGES == {"1.0": 937, "1.5": 937, "2.0": 2792}


def test_check_reports_a_bad_line_with_its_number(results):
    with open(results / "Task1_plane.txt", "a") as file:
        file.write("P0001 0.9 1 2 3\n")
    found = problems(results)
    assert "Task1_plane.txt:21: " in found[0]


def test_check_rejects_a_missing_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder of results"):
        check_submission(tmp_path / "none")


def test_write_submission(results, tmp_path):
    (results / "Task1_ship.txt").unlink()
    (results / "notes.txt").write_text("x")
    first = write_submission(results, tmp_path / "a" / "first.zip")
    with zipfile.ZipFile(first) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(f"Task1_{n}.txt" for n in DOTA_CLASSES["1.0"])
        assert archive.read("Task1_plane.txt") == (results / "Task1_plane.txt").read_bytes()
        assert archive.read("Task1_ship.txt") == b""
        assert all("/" not in name for name in archive.namelist())
    (results / "Task1_plane.txt").touch()  # another date gives the same bytes
    second = write_submission(results, tmp_path / "second.zip")
    assert first.read_bytes() == second.read_bytes()
    assert [p.name for p in first.parent.iterdir()] == ["first.zip"]


def test_write_submission_interrupted_keeps_the_old_zip(results, tmp_path, monkeypatch):
    path = write_submission(results, tmp_path / "a.zip")
    before = path.read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfileobj", stop)
    with pytest.raises(KeyboardInterrupt):
        write_submission(results, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "merged"]


def test_command_checks_and_zips(results, tmp_path, capsys):
    ids = tmp_path / "test.txt"
    ids.write_text("".join(f"{i}.png\r\n" for i in IDS))
    target = tmp_path / "a.zip"
    assert main(["submit", str(results), "--list", str(ids)]) == 0
    assert "ready to submit" in capsys.readouterr().out
    assert main(["submit", str(results), str(target), "--list", str(ids)]) == 0
    assert target.is_file()
    assert main(["submit", str(results), str(target), "--list", str(ids)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    target.unlink()
    assert main(["submit", str(results), str(target)]) == 2  # 20 of 937
    assert "only 20 of 937 test images" in capsys.readouterr().err
    assert not target.exists()
    own = ["--classes", "plane", "--list", str(ids)]
    for path in results.glob("Task1_[!p]*.txt"):
        path.unlink()
    assert main(["submit", str(results), str(target), *own]) == 0
