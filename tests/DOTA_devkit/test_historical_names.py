"""The names, signatures and results that existing scripts expect of the DOTA devkit."""

import importlib
import inspect
import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely

from DOTA_devkit import (
    ResultEnsembleNMS_multi_process,
    ResultMerge,
    ResultMerge_multi_process,
    SplitOnlyImage,
    SplitOnlyImage_multi_process,
    dota_evaluation_task1,
    dota_evaluation_task2,
    dota_utils,
    dota_v15_evaluation_task1,
    dota_v15_evaluation_task2,
    hrsc2016_evaluation,
    polyiou,
)
from DOTA_devkit.DOTA import DOTA
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import read_ids, read_task1
from DOTA_devkit.polygon import paired_iou
from DOTA_devkit.scoring import evaluate, load_truth
from helpers.recorded_ties import RECORDED_TIES

MODULES = (
    "DOTA DOTA2COCO ImgSplit ImgSplit_multi_process ResultEnsembleNMS_multi_process ResultMerge "
    "ResultMerge_multi_process SplitOnlyImage SplitOnlyImage_multi_process dota_evaluation_task1 "
    "dota_evaluation_task2 dota_utils dota_v15_evaluation_task1 dota_v15_evaluation_task2 "
    "hrsc2016_evaluation polyiou polygon splitting merging scoring formats"
)


class TestImports:
    @pytest.mark.parametrize("name", MODULES.split(" "))
    def test_both_import_paths_give_one_module(self, name):
        here = importlib.import_module(f"DOTA_devkit.{name}")
        there = importlib.import_module(f"datasets.DOTA_devkit.{name}")
        assert here is there and here.__spec__.name == here.__name__ == f"DOTA_devkit.{name}"

    def test_threshold_is_shared_by_both_import_paths(self, monkeypatch):
        from datasets.DOTA_devkit import ResultMerge as other

        monkeypatch.setattr(other, "nms_thresh", 0.7)
        assert ResultMerge.nms_thresh == 0.7

    def test_submodules_and_attributes_of_the_alias(self):
        package = importlib.import_module("datasets.DOTA_devkit")
        there = importlib.import_module("datasets.DOTA_devkit.commands.merge")
        assert there is importlib.import_module("DOTA_devkit.commands.merge")
        assert package.polygon.paired_iou is paired_iou
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("datasets.DOTA_devkit.nothing")
        with pytest.raises(AttributeError):
            _ = package.nothing

    @pytest.mark.parametrize(
        "first",
        ["DOTA_devkit.ResultMerge", "datasets.DOTA_devkit.ResultMerge"],
    )
    def test_import_in_either_order(self, first):
        code = (
            f"import {first}, DOTA_devkit.ResultMerge as a, datasets.DOTA_devkit.ResultMerge as b; "
            "import pickle; assert a is b and pickle.loads(pickle.dumps(b.mergebypoly)) is "
            "a.mergebypoly"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_core_needs_only_numpy_and_shapely(self):
        """Importing, scoring, merging and reading load nothing heavy."""
        code = (
            "import sys\n"
            "for name in ('cv2', 'tqdm', 'matplotlib', 'torch', 'rasterio'):\n"
            "    sys.modules[name] = None\n"
            "import numpy as np\n"
            + "".join(f"import DOTA_devkit.{name}\n" for name in MODULES.split(" "))
            + "from DOTA_devkit.scoring import Truth, evaluate\n"
            "from DOTA_devkit.formats import Task1\n"
            "from DOTA_devkit.merging import merge_detections\n"
            "box = np.array([[[0, 0], [9, 0], [9, 9], [0, 9.0]]])\n"
            "truth = Truth.from_arrays({'P': (box, [0], [0])}, ['ship'])\n"
            "found = merge_detections(Task1(['P__1__0___0'], np.ones(1), box))\n"
            "assert evaluate({'ship': found}, truth).map == 1\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    @pytest.mark.parametrize(
        ("function", "parameters"),
        [
            ("ImgSplit.splitbase", "basepath outpath code gap=100 subsize=1024 thresh=0.7 "
             "choosebestpoint=True ext=.png"),
            ("ImgSplit_multi_process.splitbase", "basepath outpath code gap=512 subsize=1024 "
             "thresh=0.7 choosebestpoint=True ext=.png padding=True num_process=8"),
            ("SplitOnlyImage.splitbase", "srcpath dstpath gap=100 subsize=1024 ext=.png"),
            ("SplitOnlyImage_multi_process.splitbase", "srcpath dstpath gap=100 subsize=1024 "
             "ext=.png padding=True num_process=32"),
            ("ResultMerge.mergebyrec", "srcpath dstpath"),
            ("ResultMerge.mergebypoly", "srcpath dstpath"),
            ("ResultMerge_multi_process.mergebyrec", "srcpath dstpath"),
            ("ResultMerge_multi_process.mergebypoly", "srcpath dstpath"),
            ("ResultMerge_multi_process.py_cpu_nms", "dets thresh"),
            ("ResultMerge_multi_process.py_cpu_nms_poly", "dets thresh"),
            ("dota_evaluation_task1.voc_eval", "detpath annopath imagesetfile classname "
             "ovthresh=0.5 use_07_metric=False"),
            ("dota_v15_evaluation_task2.voc_eval", "detpath annopath imagesetfile classname "
             "ovthresh=0.5 use_07_metric=False"),
            ("dota_evaluation_task2.voc_ap", "rec prec use_07_metric=False"),
            ("hrsc2016_evaluation.parse_gt", "filename"),
            ("polyiou.iou_poly", "p q"),
        ],
    )  # fmt: skip
    def test_signatures(self, function, parameters):
        module, name = function.split(".")
        module = importlib.import_module(f"DOTA_devkit.{module}")
        found = [
            one.name if one.default in (one.empty, "utf-8") else f"{one.name}={one.default}"
            for one in inspect.signature(getattr(module, name)).parameters.values()
        ]
        assert found == parameters.split()


class TestPolyIoU:
    def test_vector_double(self):
        vector = polyiou.VectorDouble([0, 0, 2, 0, 2, 2, 0])
        assert vector.size() == 7 and not vector.empty() and polyiou.VectorDouble().empty()
        vector.push_back(np.float32(2))
        assert list(vector) == [0, 0, 2, 0, 2, 2, 0, 2] and type(vector[7]) is float
        other = polyiou.VectorDouble([1, 0, 3, 0, 3, 2, 1, 2])
        assert polyiou.iou_poly(vector, other) == pytest.approx(1 / 3)

    def test_iou_poly_of_distant_pairs_and_sequences(self):
        assert polyiou.iou_poly([0, 0, 1, 0, 1, 1, 0, 1], np.arange(8) + 50) == 0
        assert polyiou.iou_poly([0, 0, 1, 0, 1, 1, 0, 1], (1, 0, 2, 0, 2, 1, 1, 1)) == 0
        with pytest.raises(ValueError, match="8 coordinates each, got 8 and 6"):
            polyiou.iou_poly([0] * 8, [0] * 6)

    def test_iou_poly_as_recorded(self, shared):
        recorded = np.load(shared / "fixtures" / "polyiou_3000.npz")
        # The recorded values are wrong for self-intersecting polygons.
        valid = [
            shapely.is_valid(shapely.polygons(recorded[name].reshape(-1, 4, 2))) for name in "ab"
        ]
        rows = np.flatnonzero(valid[0] & valid[1])[::10]
        found = [
            polyiou.iou_poly(polyiou.VectorDouble(a), polyiou.VectorDouble(b))
            for a, b in zip(recorded["a"][rows], recorded["b"][rows], strict=True)
        ]
        np.testing.assert_allclose(found, recorded["iou"][rows], atol=1e-6)


class TestMerging:
    @pytest.fixture
    def recorded(self, shared):
        return shared / "fixtures" / "merge20"

    def assert_as_recorded(self, folder, recorded):
        for path in (recorded / "out").iterdir():
            assert (folder / path.name).read_text() == path.read_text()

    def test_merge_as_recorded(self, recorded, tmp_path, monkeypatch):
        ResultMerge_multi_process.mergebypoly(str(recorded / "in"), str(tmp_path / "a"))
        self.assert_as_recorded(tmp_path / "a", recorded)
        monkeypatch.setattr(ResultMerge, "nms_thresh", 0.1)
        ResultMerge.mergebypoly(recorded / "in", tmp_path / "b")
        self.assert_as_recorded(tmp_path / "b", recorded)
        nms = ResultMerge_multi_process.py_cpu_nms_poly
        ResultMerge_multi_process.mergesingle(tmp_path, nms, recorded / "in" / "Task1_ship.txt")
        name = "Task1_ship.txt"
        assert (tmp_path / name).read_text() == (recorded / "out" / name).read_text()

    def test_merge_with_custom_nms(self, recorded, tmp_path, monkeypatch):
        monkeypatch.setattr(ResultMerge, "nms_thresh", 0.1)

        def own(dets, thresh):
            return ResultMerge.py_cpu_nms_poly(dets, thresh)

        ResultMerge.mergebase(recorded / "in", tmp_path, own)
        self.assert_as_recorded(tmp_path, recorded)

    def test_merge_by_rectangles(self, tmp_path):
        (tmp_path / "in").mkdir()
        text = "P__1__0___0 0.9 0 0 9 9\nP__1__0___0 0.8 1 0 10 9\n"
        (tmp_path / "in" / "Task2_ship.txt").write_text(text)
        for module in (ResultMerge, ResultMerge_multi_process):
            module.mergebyrec(tmp_path / "in", tmp_path / "out")
            merged = (tmp_path / "out" / "Task2_ship.txt").read_text()
            assert merged == "P 0.9 0.0 0.0 9.0 9.0\n"

    def test_ensemble_keeps_ids_and_other_files(self, tmp_path):
        (tmp_path / "in").mkdir()
        box = "0 0 9 0 9 9 0 9"
        text = f"P__1__5___0 0.9 {box}\nP__1__0___0 0.8 {box}\nP__1__0___0 0.7 {box}\n"
        (tmp_path / "in" / "Task1_ship.txt").write_text(text)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("not to be lost")
        ResultEnsembleNMS_multi_process.mergebypoly(tmp_path / "in", tmp_path / "out")
        merged = (tmp_path / "out" / "Task1_ship.txt").read_text().splitlines()
        assert [line.split()[:2] for line in merged] == [
            ["P__1__5___0", "0.9"], ["P__1__0___0", "0.8"],
        ]  # fmt: skip
        assert (tmp_path / "out" / "mine.txt").exists()

    def test_py_cpu_nms_functions(self):
        rows = np.array([[0, 0, 9, 0, 9, 9, 0, 9, 0.5], [1, 0, 10, 0, 10, 9, 1, 9, 0.9]])
        module = ResultMerge_multi_process
        assert module.py_cpu_nms_poly(rows, 0.1) == [1]
        assert module.py_cpu_nms_poly_fast(rows, 0.1) == [1]
        assert module.py_cpu_nms_poly_fast(rows, 0.9, 0.5) == [1, 0]
        assert module.py_cpu_nms(rows[:, [0, 1, 4, 5, 8]], 0.1) == [1]
        assert module.py_cpu_nms(rows, 0.1) == [1]
        for nms in (module.py_cpu_nms, module.py_cpu_nms_poly):
            assert nms(np.zeros((0, 9)), 0.1) == []

    def test_merge_helper_functions(self):
        assert ResultMerge.poly2origpoly([1, 2, 3, 4], 10, 20, "0.5") == [22, 44, 26, 48]
        rows = [[0, 0, 9, 0, 9, 9, 0, 9, 0.5]] * 2
        assert ResultMerge.nmsbynamedict({"P": rows}, ResultMerge.py_cpu_nms_poly, 0.1) == {
            "P": rows[:1]
        }


class TestSplitting:
    @pytest.fixture
    def data(self, tmp_path):
        for name in ("images", "labelTxt"):
            (tmp_path / "in" / name).mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 255, (130, 90, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "in" / "images" / "P.png"), pixels)
        text = "10 10 40 10 40 40 10 40 ship 0\n"
        (tmp_path / "in" / "labelTxt" / "P.txt").write_text(text)
        return tmp_path / "in"

    @pytest.mark.parametrize("module", ["ImgSplit", "ImgSplit_multi_process"])
    def test_split_images_and_labels(self, data, tmp_path, module):
        splitbase = importlib.import_module(f"DOTA_devkit.{module}").splitbase
        splitter = splitbase(str(data), str(tmp_path / "out"), gap=20, subsize=100)
        for _ in range(2):  # twice into the same folder, as the original allows
            splitter.splitdata(1)
            splitter.splitdata(0.5)
        names = ["P__0.5__0___0", "P__1__0___0", "P__1__0___30"]
        found = {path.stem: path for path in (tmp_path / "out" / "images").glob("*.png")}
        assert sorted(found) == names
        label = tmp_path / "out" / "labelTxt" / "P__1__0___30.txt"
        assert label.read_text() == "10.0 1.0 40.0 1.0 40.0 10.0 10.0 10.0 ship 2\n"
        padded = module.endswith("multi_process")
        shape = cv2.imread(str(found["P__1__0___0"])).shape
        assert shape == ((100, 100, 3) if padded else (100, 90, 3))

    @pytest.mark.parametrize("module", [SplitOnlyImage, SplitOnlyImage_multi_process])
    def test_split_images_without_labels(self, data, tmp_path, module):
        splitter = module.splitbase(data / "images", tmp_path / "out", gap=20, subsize=100)
        splitter.splitdata(1)
        splitter.SplitSingle("P", 0.5, ".png")
        assert sorted(path.stem for path in (tmp_path / "out").glob("*.png")) == [
            "P__0.5__0___0", "P__1__0___0", "P__1__0___30",
        ]  # fmt: skip


class TestEvaluation:
    def paths(self, shared):
        folder = shared / "fixtures" / "voc50"
        return (
            f"{folder}/det/Task1_{{:s}}.txt", f"{folder}/labelTxt/{{:s}}.txt",
            folder / "valset.txt",
        )  # fmt: skip

    @pytest.mark.parametrize("name", RECORDED_TIES)
    def test_voc_eval_as_recorded(self, shared, tmp_path, name):
        """With equal scores changed slightly to have the order of the recording."""
        det, labels, images = self.paths(shared)
        recorded = json.loads((shared / "fixtures" / "voc50" / "ap.json").read_text())
        lines = Path(det.format(name)).read_text().splitlines()
        for rank, row in enumerate(RECORDED_TIES[name]):
            image_id, score, box = lines[row].split(" ", 2)
            lines[row] = f"{image_id} {float(score) - rank * 1e-9:.12f} {box}"
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
        for threshold in (0.3, 0.5, 0.75):
            for metric, suffix in ((True, "07"), (False, "area")):
                recall, precision, ap = dota_evaluation_task1.voc_eval(
                    str(tmp_path / "{:s}.txt"), labels, images, name, threshold, metric
                )
                assert ap == pytest.approx(recorded[f"{name}_{threshold}_{suffix}"], abs=1e-6)
                assert len(recall) == len(precision) == len(lines)
                assert ap == pytest.approx(dota_evaluation_task1.voc_ap(recall, precision, metric))

    @pytest.mark.parametrize("name", RECORDED_TIES)
    def test_voc_eval_orders_equal_scores_as_numpy(self, shared, tmp_path, name):
        """As the original does on the same machine."""
        det, labels, images = self.paths(shared)
        lines = Path(det.format(name)).read_text().splitlines()
        order = np.argsort([-float(line.split()[1]) for line in lines])
        (tmp_path / f"{name}.txt").write_text("".join(f"{lines[k]}\n" for k in order))
        found = dota_evaluation_task1.voc_eval(det, labels, images, name)
        folder = shared / "fixtures" / "voc50"
        truth = load_truth(folder / "labelTxt", read_ids(images), [name])
        in_numpy_order = read_task1(tmp_path / f"{name}.txt")
        expected = evaluate({name: in_numpy_order}, truth, metric="voc12")[name]
        np.testing.assert_array_equal(found[0], expected.curve.recall)
        np.testing.assert_array_equal(found[1], expected.curve.precision)

    def write(self, tmp_path, label: str, detection: str):
        (tmp_path / "P.txt").write_text(label)
        (tmp_path / "ship").write_text(detection)
        (tmp_path / "list").write_text("P\n")
        return str(tmp_path / "{:s}"), str(tmp_path / "{:s}.txt"), tmp_path / "list"

    @pytest.mark.parametrize("fields", ["", " 0", " 0 extra", " 0 extra 7"])
    def test_voc_eval_with_labels_of_9_to_12_fields(self, tmp_path, fields):
        box = "0 0 9 0 9 9 0 9"
        given = self.write(tmp_path, f"{box} ship{fields}\n", f"P 0.9 {box}\n")
        assert dota_evaluation_task1.voc_eval(*given, "ship")[2] == 1

    def test_difficult_objects_count_only_in_v15(self, tmp_path):
        box = "0 0 9 0 9 9 0 9"
        given = self.write(tmp_path, f"{box} ship 1\n", f"P 0.9 {box}\n")
        assert math.isnan(dota_evaluation_task1.voc_eval(*given, "ship")[2])
        assert dota_v15_evaluation_task1.voc_eval(*given, "ship")[2] == 1
        assert dota_evaluation_task1.parse_gt(tmp_path / "P.txt")[0]["difficult"] == 1
        assert dota_v15_evaluation_task1.parse_gt(tmp_path / "P.txt")[0]["difficult"] == 0

    @pytest.mark.parametrize("module", [dota_evaluation_task2, dota_v15_evaluation_task2])
    def test_voc_eval_of_task2(self, tmp_path, module):
        given = self.write(
            tmp_path, "10.7 10 20 10 20 30.9 10 30 ship 0\n", "P 0.9 10 10 20 30\nP 0.8 0 0 1 1\n"
        )
        recall, precision, ap = module.voc_eval(*given, "ship", ovthresh=0.99, use_07_metric=True)
        assert recall.tolist() == [1, 1] and precision.tolist() == [1, 0.5] and ap == 1
        assert module.parse_gt(tmp_path / "P.txt") == [
            {"name": "ship", "difficult": 0, "bbox": [10, 10, 20, 30], "area": 200}
        ]

    def test_voc_eval_with_empty_file_and_unlisted_image(self, tmp_path):
        box = "0 0 9 0 9 9 0 9"
        given = self.write(tmp_path, f"{box} ship\n", "")
        assert dota_evaluation_task1.voc_eval(*given, "ship")[2] == 0
        given = self.write(tmp_path, f"{box} ship\n", f"Q 0.9 {box}\nP 0.8 {box}\n")
        assert dota_evaluation_task1.voc_eval(*given, "ship")[2] == 1

    def test_voc_eval_of_hrsc_text_and_xml(self, tmp_path):
        box = "0 0 9 0 9 9 0 9"
        given = self.write(tmp_path, f"{box} ship\n", f"P 0.9 {box}\n")
        assert hrsc2016_evaluation.voc_eval(*given, "ship")[2] == 1
        (tmp_path / "P.xml").write_text(
            "<HRSC_Image><HRSC_Objects><HRSC_Object><Class_ID>100000001</Class_ID>"
            "<difficult>0</difficult><mbox_cx>4.5</mbox_cx><mbox_cy>4.5</mbox_cy>"
            "<mbox_w>9</mbox_w><mbox_h>9</mbox_h><mbox_ang>0</mbox_ang></HRSC_Object>"
            "</HRSC_Objects></HRSC_Image>"
        )
        xml = str(tmp_path / "{:s}.xml")
        assert hrsc2016_evaluation.voc_eval(given[0], xml, given[2], "ship")[2] == 1
        assert hrsc2016_evaluation.parse_gt(tmp_path / "P.xml")[0]["name"] == "ship"


class TestUtilities:
    points = ((0.0, 1.0), (4.0, 1.0), (4.0, 3.5), (0.0, 3.5))

    @pytest.fixture
    def label(self, tmp_path):
        path = tmp_path / "labelTxt" / "P.txt"
        path.parent.mkdir()
        path.write_text("gsd:1\n0 1 4.9 1 4.9 3.5 0 3.5 ship 1\n0 0 2 0 2 2 0 2 plane\n")
        return path

    def test_parse_labels(self, label):
        objects = dota_utils.parse_dota_poly(label)
        assert [one["name"] for one in objects] == ["ship", "plane"]
        assert [one["difficult"] for one in objects] == ["1", "0"]
        assert objects[0]["poly"][1] == (4.9, 1) and objects[0]["area"] == pytest.approx(12.25)
        assert dota_utils.parse_dota_poly2(label)[0]["poly"] == [0, 1, 4, 1, 4, 3, 0, 3]
        assert dota_utils.parse_dota_rec(label)[0]["bndbox"] == (0, 1, 4.9, 3.5)

    def test_geometry_functions(self):
        assert dota_utils.TuplePoly2Poly(self.points) == [0, 1, 4, 1, 4, 3.5, 0, 3.5]
        assert dota_utils.dots4ToRec4(self.points) == (0, 1, 4, 3.5)
        assert dota_utils.dots4ToRec8(self.points) == (0, 1, 4, 1, 4, 3.5, 0, 3.5)
        assert dota_utils.cal_line_length((0, 0), (3, 4)) == 5
        rotated = [*self.points[2:], *self.points[:2]]
        assert dota_utils.get_best_begin_point(rotated) == [list(p) for p in self.points]
        cx, cy, width, height, angle = dota_utils.polygonToRotRectangle([0, 0, 4, 0, 4, 2, 0, 2])
        assert (cx, cy, angle) == (2, 1, pytest.approx(-math.pi / 2))
        assert (width, height) == (pytest.approx(3), pytest.approx(5))

    def test_list_files(self, tmp_path):
        for name in ("a.b.txt", "c/d.png", "c/e.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("")
        names = [dota_utils.custombasename(p) for p in dota_utils.GetFileFromThisRootDir(tmp_path)]
        assert names == ["a.b", "d", "e"]
        for ext in (["txt"], ".txt", "txt"):
            assert len(dota_utils.GetFileFromThisRootDir(tmp_path, ext)) == 2

    def test_labels_to_results_and_back(self, tmp_path):
        (tmp_path / "in").mkdir()
        text = "1 2 3 4 5 6 7 8 ship 0\n1 2 3 4 5 6 7 8 ship 2\n"
        (tmp_path / "in" / "P__0.5__0___0.txt").write_text(text)
        dota_utils.groundtruth2Task1(tmp_path / "in", tmp_path / "results")
        assert len(list((tmp_path / "results").iterdir())) == 15
        ship = (tmp_path / "results" / "Task1_ship.txt").read_text()
        assert ship == "P__0.5__0___0 1 1 2 3 4 5 6 7 8\n"
        dota_utils.Task2groundtruth_poly(tmp_path / "results", tmp_path / "labels")
        label = tmp_path / "labels" / "P__0.5__0___0.txt"
        assert label.read_text() == "1 2 3 4 5 6 7 8 ship\n"
        (tmp_path / "in" / "whole.txt").write_text(text)
        with pytest.raises(InputError, match=r"whole\.txt: expected a patch"):
            dota_utils.groundtruth2Task1(tmp_path / "in", tmp_path / "results")


class TestDOTA:
    @pytest.fixture
    def data(self, tmp_path):
        for name in ("images", "labelTxt"):
            (tmp_path / name).mkdir()
        box = "1 1 9 1 9 9 1 9"
        for name, labels in {"A": f"{box} ship 1\n{box} plane 0\n", "B": f"{box} ship\n"}.items():
            (tmp_path / "labelTxt" / f"{name}.txt").write_text(labels)
            cv2.imwrite(str(tmp_path / "images" / f"{name}.jpg"), np.zeros((20, 30, 3), np.uint8))
        return DOTA(tmp_path)

    def test_index_and_annotations(self, data):
        assert data.getImgIds() == ["A", "B"]
        assert data.getImgIds(catNms=["ship"]) == ["A", "B"] and data.getImgIds("plane") == ["A"]
        assert data.getImgIds(["ship", "plane"]) == ["A"] and data.getImgIds("boat") == []
        assert len(data.loadAnns(imgId="A")) == 2
        assert len(data.loadAnns("ship", "A")) == 1 and data.loadAnns("plane", "B") == []
        assert len(data.loadAnns(imgId="A", difficult=1)) == 1

    def test_load_images(self, data):
        assert [image.shape for image in data.loadImgs(["A", "B"])] == [(20, 30, 3)] * 2
        assert len(data.loadImgs("A")) == 1
        with pytest.raises(InputError, match="no image has the id C"):
            data.loadImgs("C")

    def test_show_annotations(self, data):
        matplotlib = pytest.importorskip("matplotlib")
        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure = pyplot.figure()
        data.showAnns(data.loadAnns(imgId="A"), "A", 2)
        assert len(figure.axes[0].patches) == 2
        pyplot.close(figure)
