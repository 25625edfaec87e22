"""Label files, result files and id lists: what is read, and what the errors say."""

import numpy as np
import pytest

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import (
    DOTA_CLASSES,
    iter_results,
    parse_labels,
    read_ids,
    read_label_files,
    read_labels,
    read_task1,
    read_task2,
    result_coordinates,
    write_task1,
)
from DOTA_devkit.text_table import TextCodes

BOX = "1 2 3 4 5 6 7 8"


class TestLabels:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", []),
            ("\n\r\n  \n", []),
            ("imagesource:GoogleEarth\ngsd:0.146\n", []),
            ("acquisition dates:2016-05-04\ngsd:null\n" + BOX + " ship 0\n", [("ship", 0, 3)]),
            (f"{BOX} ship", [("ship", 0, 1)]),  # 9 fields, no line break
            (f"{BOX} ship 1\n", [("ship", 1, 1)]),
            (f"{BOX} ship 2 tr 0.5\n", [("ship", 2, 1)]),  # 12 fields
            (f"{BOX} ship 1.0\n", [("ship", 1, 1)]),
            (f"{BOX} small vehicle 1\n", [("small vehicle", 1, 1)]),
            (f"{BOX} a b c 2 x\n{BOX} d 0\n", [("a b c", 2, 1), ("d", 0, 2)]),
            (f"\r\n{BOX}\tship\t0\r\n\r\n{BOX}  plane   1 \r\n", [("ship", 0, 2), ("plane", 1, 4)]),
            (f"\ufeff{BOX} ship 0\n", [("ship", 0, 1)]),  # byte order mark
            (f"{BOX} 船 0\n", [("船", 0, 1)]),
            (f"{BOX} 12 0\n", [("12", 0, 1)]),  # a class named by a number
            (f"gsd:1\r{BOX} ship 0\r{BOX} car 1\r", [("ship", 0, 2), ("car", 1, 3)]),  # old Macs
            (f"{BOX} a 0\r{BOX} b 1\r\n{BOX} c 0", [("a", 0, 1), ("b", 1, 2), ("c", 0, 3)]),
            (f"{BOX} a b c d e f g h 2\n", [("a b c d e f g h", 2, 1)]),
            ("note: a b c d e f g h i j\n", []),
        ],
    )
    def test_lines(self, text, expected, tmp_path):
        path = tmp_path / "P.txt"
        path.write_bytes(text.encode())
        labels = read_labels(path)
        found = zip(labels.names, labels.difficult.tolist(), labels.lines.tolist(), strict=True)
        assert list(found) == expected
        assert labels.corners.shape == (len(expected), 4, 2) and len(labels) == len(expected)
        assert (labels.corners == np.arange(1, 9).reshape(4, 2)).all()

    def test_coordinates(self):
        labels = parse_labels(b"-1.5 2e3 +3 .25 1000000.125 6 7 8 ship 0\n")
        assert labels.corners.ravel().tolist() == [-1.5, 2000, 3, 0.25, 1000000.125, 6, 7, 8]
        assert labels.corners.dtype == np.float64

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (f"{BOX}\n", r"P\.txt:1: .*8 fields"),
            (f"{BOX} ship 0\n\n1 2 3\n", r"P\.txt:3: .*3 fields: 1 2 3"),
            ("ship\n", r"P\.txt:1: .*1 fields: ship"),
            (f"\n1 2 x {BOX[6:]} ship 0\n", r"P\.txt:2: expected a number, got 'x'"),
            (f"{BOX} ship -1\n", r"P\.txt:1: .*difficulty '-1'"),
            (f"{BOX} ship 0.5\n", r"P\.txt:1: .*difficulty '0\.5'"),
            (f"{BOX} small vehicle\n", r"P\.txt:1: .*difficulty 'vehicle'"),
            (f"nan {BOX[2:]} ship 0\n", r"P\.txt:1: .*not finite"),
            (f"{BOX} ship 0\n1e400 {BOX[2:]} ship 0\n", r"P\.txt:2: .*not finite"),
            (f"nan {BOX[2:]} a:b 0\n", r"P\.txt:1: .*not finite"),  # no header
            (f"ship: {BOX}\n", r"P\.txt:1: .*got .*'ship:'|9 fields"),
            # Files that were joined without a last line break.
            (f"{BOX} a 0\n{BOX} ship 0{BOX} car 1\n", r"P\.txt:2: .*two objects on a line"),
            (f"{BOX} ship{BOX} car\n", r"P\.txt:1: .*two objects on a line"),
        ],
    )
    def test_errors_name_file_and_line(self, text, message, tmp_path):
        path = tmp_path / "P.txt"
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_labels(path)
        # The same error when many files are read together.
        good = tmp_path / "good.txt"
        good.write_text(f"{BOX} ship 0\n")
        with pytest.raises(InputError, match=message):
            list(read_label_files([good, path, good]))

    def test_other_encodings_are_an_error(self, tmp_path):
        path = tmp_path / "P.txt"
        path.write_bytes(
            f"{BOX} ship 0\n{BOX} ".encode() + "bâteau".encode("latin-1") + b"\xff 0\n"
        )
        with pytest.raises(
            InputError, match=r"P\.txt:2: expected UTF-8 .*; save the file as UTF-8"
        ):
            read_labels(path)

    @pytest.mark.parametrize("byte", [b"\x00", b"\x11", b"\x1b", b"\x1f"])
    @pytest.mark.parametrize("at", [3, 4])  # inside of a number, and where fields part
    def test_control_bytes_do_not_part_fields(self, byte, at, tmp_path):
        data = f"{BOX} ship 0\n".encode()
        text = data + data[:at] + byte + data[at:]
        with pytest.raises(InputError, match=r"labels:2: expected text, got the control byte 0x"):
            parse_labels(text)
        path = tmp_path / "P.txt"
        path.write_bytes(text)
        with pytest.raises(InputError, match=r"P\.txt:2: "):
            list(read_label_files([path]))

    @pytest.mark.parametrize(
        ("line", "found"),
        [
            (f"1e10 {BOX[2:]} ship 0", "a coordinate that is not a number from -1000000000 to"),
            (f"{'9' * 400} {BOX[2:]} ship 0", "a coordinate that is not finite"),
            (f"{BOX} ship 1e300", "difficulty"),
            (f"{BOX} ship {2**63}", f"difficulty {2**63}, which is not an integer from 0 to 2147"),
            (f"{BOX} ship {'9' * 400}", "difficulty 999"),
            (f"{BOX} ship {'9' * 5000}", "difficulty 999"),
        ],
    )
    def test_numbers_out_of_range(self, line, found):
        with pytest.raises(InputError, match=f"labels:2: .*{found}"):
            parse_labels(f"{BOX} ship 0\n{line}\n".encode())

    def test_the_largest_numbers(self):
        labels = parse_labels(f"1e9 -1e9 {BOX[4:]} ship {2**31 - 1}\n".encode())
        assert labels.corners[0, 0].tolist() == [1e9, -1e9]
        assert labels.difficult.tolist() == [2**31 - 1]

    def test_read_label_files_equals_read_labels(self, tmp_path, monkeypatch):
        monkeypatch.setattr("DOTA_devkit.formats.labels.BLOCK_BYTES", 60)
        texts = ["", f"gsd:1\n{BOX} ship 1", f"\n{BOX} a b 0\n{BOX} c\n\n", "\n", f"{BOX} x 2\n"]
        paths = [tmp_path / f"{k}.txt" for k in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        together = list(read_label_files(paths))
        assert len(together) == len(paths)
        for one, path in zip(together, paths, strict=True):
            alone = read_labels(path)
            assert one.names == alone.names
            for name in ("corners", "difficult", "lines"):
                np.testing.assert_array_equal(getattr(one, name), getattr(alone, name))

    def test_real_files(self, shared):
        labels = list(read_label_files(sorted(shared.glob("data/dota_samples/labelTxt/*.txt"))))
        assert (len(labels), sum(map(len, labels))) == (15, 831)
        assert sum(int(one.difficult.sum()) for one in labels) == 7


class TestResults:
    def write(self, tmp_path, text: str):
        path = tmp_path / "Task1_ship.txt"
        path.write_bytes(text.encode())
        return path

    @pytest.mark.parametrize(
        ("text", "image_ids"),
        [
            ("", []),
            ("\n \r\n", []),
            (f"P1 0.5 {BOX}\n", ["P1"]),
            (f"P1 0.5 {BOX}\r\n\r\n\tP2  0.5\t{BOX}", ["P1", "P2"]),
            (f"my image.v2 0.5 {BOX}\n", ["my image.v2"]),  # spaces in the id
            (f"007 0.5 {BOX}\n", ["007"]),
            (f"a__b__0.5__0___0 0.5 {BOX}\n", ["a__b__0.5__0___0"]),
            (f"P1 0.5 {BOX}\rP2 0.5 {BOX}\r", ["P1", "P2"]),  # line ends of old Macs
        ],
    )
    def test_lines(self, text, image_ids, tmp_path):
        found = read_task1(self.write(tmp_path, text))
        assert found.image_ids == image_ids and len(found) == len(image_ids)
        assert (found.scores == 0.5).all()
        assert found.corners.shape == (len(image_ids), 4, 2)
        assert (found.corners == np.arange(1, 9).reshape(4, 2)).all()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (f"P1 0.5 {BOX}\nP1 0.5 1 2 3\n", "ship.txt:2: .*got 5 fields: P1 0.5 1 2 3"),
            ("P1 0.5 1 2 3 4\n", "6 fields are Task2"),
            (f"P1 0,5 {BOX}\n", "ship.txt:1: expected a number, got '0,5'"),
            (f"\nP1 nan {BOX}\n", "ship.txt:2: a score or coordinate is not finite"),
            (
                f"P1 1 {BOX}\nP1 0.5 1e10{BOX[1:]}\n",
                "ship.txt:2: a coordinate is not a number from",
            ),
            (f"P1 0.5 1\x11{BOX}\n", "ship.txt:1: expected text, got the control byte 0x11"),
            (
                f"P__1e__0___0 0 {BOX}\nP__0.0001__0___0 0 {BOX}\n",
                "ship.txt:2: .*expected a number from 0.001 to 1000000000 for the rate",
            ),
            (
                f"P__1__{'9' * 500}___0 0.5 {BOX}\n",
                "ship.txt:1: .*expected a number from -1000000000 to 1000000000 pixels for the x",
            ),
        ],
    )
    def test_errors_name_file_and_line(self, text, message, tmp_path):
        with pytest.raises(InputError, match=message):
            read_task1(self.write(tmp_path, text))

    def test_iter_results_keeps_lines_whole(self, tmp_path):
        text = "".join(f"P{k} 0.{k} {BOX}\n" for k in range(10, 60)) + f"last 0.5 {BOX}"
        path = self.write(tmp_path, text)
        whole = read_task1(path)
        ids = TextCodes()
        blocks = list(iter_results(path, ids, block_bytes=50))
        assert len(blocks) > 10
        assert [ids.texts[i] for block in blocks for i in block.images] == whole.image_ids
        np.testing.assert_array_equal(np.concatenate([b.scores for b in blocks]), whole.scores)
        path = self.write(tmp_path, text + "\nP 1 x\n")
        with pytest.raises(InputError, match=r"ship\.txt:52: "):
            list(iter_results(path, TextCodes(), block_bytes=50))

    def test_read_task2(self, tmp_path):
        found = read_task2(self.write(tmp_path, "P1 0.5 1 2 30 40\n"))
        assert found.corners.tolist() == [[[1, 2], [30, 2], [30, 40], [1, 40]]]
        with pytest.raises(InputError, match="4 coordinates, got 5"):
            read_task2(self.write(tmp_path, "P1 0.5 1 2 30\n"))

    @pytest.mark.parametrize(
        ("text", "count"),
        [("", None), ("\n", None), (f"\na b 0.5 {BOX}\n", 8), ("P1 0.5 1 2 3 4\n", 4)],
    )
    def test_result_coordinates(self, text, count, tmp_path):
        assert result_coordinates(self.write(tmp_path, text)) == count

    @pytest.mark.parametrize(
        ("name", "lines", "count"),
        [
            ("Task1_ship.txt", ["P1 0.5 nan 2 3 4 5 6 7 8", f"P1 0.5 {BOX}"], 8),
            ("Task1_ship.txt", [f"a b 0.5 {BOX}", "a b 0.5 1 2 x 4 5 6 7 8"], 8),
            ("Task2_ship.txt", ["a b c 1 2 0.5 1 2 3 4"], 4),  # an id with blanks and numbers
            ("ship.txt", ["P1 0.5 1 2 x 4 5 6 7 8"], 8),
            ("ship.txt", ["P1 0.5 1 2 3 4"], 4),
            ("ship.txt", ["my image 0.5 1 2 3 4"], 4),
            ("ship.txt", [f"my image 0.5 {BOX}", f"P1 0.5 {BOX}"], 8),
        ],
    )
    def test_kind_by_name_and_lines(self, name, lines, count, tmp_path):
        path = tmp_path / name
        path.write_text("\n".join(lines))
        assert result_coordinates(path) == count

    @pytest.mark.parametrize("name", ["Task1_ship.txt", "Task2_ship.txt", "ship.txt"])
    def test_lines_of_both_kinds(self, name, tmp_path):
        path = tmp_path / name
        path.write_text(f"P1 0.5 1 2 3 4\n\nP1 0.5 {BOX}\n")
        with pytest.raises(InputError, match=r"ship\.txt:3: expected 4 coordinates as in the"):
            result_coordinates(path)

    def test_result_coordinates_of_another_file(self, tmp_path):
        with pytest.raises(InputError, match=r"ship\.txt:2: expected an image id"):
            result_coordinates(self.write(tmp_path, "\nhello world\n"))

    def test_write_task1_matches_the_detector(self, tmp_path):
        path = tmp_path / "deeper" / "Task1_ship.txt"
        corners = np.array([[[1.25, 2], [3, 4], [5, 6], [-7.06, 8]]])
        write_task1(path, ["P1"], np.array([0.5]), corners)
        assert path.read_text() == "P1 0.500000000000 1.2 2.0 3.0 4.0 5.0 6.0 -7.1 8.0\n"
        assert read_task1(path).image_ids == ["P1"]
        write_task1(path, [], np.zeros(0), np.zeros((0, 4, 2)))
        assert path.read_text() == ""


def test_read_ids(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffP1\r\n\r\n P2.png \nmy image\nP1".encode())
    assert read_ids(path) == ["P1", "P2.png", "my image", "P1"]


def test_dota_classes():
    assert [len(names) for names in DOTA_CLASSES.values()] == [15, 16, 18]
    assert DOTA_CLASSES["1.0"][0] == "plane" and DOTA_CLASSES["1.0"][14] == "helicopter"
