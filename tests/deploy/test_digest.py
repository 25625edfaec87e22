"""The digest in exported files: what it covers, and that damage is seen before a file runs."""

import hashlib

import numpy as np
import pytest

from deploy.detector import Detector
from deploy.digest import ONNX_KEY, onnx_digest, onnx_props
from DOTA_devkit.errors import InputError
from helpers.fixed_output_onnx import PROPS, onnx_file

DAMAGED = r": its network is not the one that was exported: the file is damaged"


def sealed(path, **changes):
    """An ONNX file with a digest, as the export writes it."""
    onnx_file(path)
    digest = onnx_digest(path.read_bytes())
    return onnx_file(path, PROPS | {ONNX_KEY: digest} | changes), digest


def test_the_digest_is_that_of_the_graph(tmp_path):
    onnx = pytest.importorskip("onnx")
    path, digest = sealed(tmp_path / "a.onnx")
    graph = onnx.load(path).graph.SerializeToString()
    assert digest == hashlib.sha256(graph).hexdigest()
    assert onnx_props(path) == PROPS | {ONNX_KEY: digest}


def test_metadata_may_be_edited(tmp_path):
    path, _ = sealed(tmp_path / "a.onnx", conf_thresh="0.25")
    assert onnx_props(path)["conf_thresh"] == "0.25"


def test_a_file_without_a_digest_is_read(tmp_path):
    assert onnx_props(onnx_file(tmp_path / "a.onnx")) == PROPS


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_damage_of_an_onnx_file(tmp_path, runtime):
    pytest.importorskip(runtime)
    path, _ = sealed(tmp_path / "a.onnx")
    image = np.zeros((64, 64, 3), np.uint8)
    assert len(Detector.load(path, runtime=runtime).detect(image)) == 2
    content = bytearray(path.read_bytes())
    score = content.find(np.array([0.9, 0.4], np.float32).tobytes())
    content[score + 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.onnx" + DAMAGED):
        Detector.load(path, runtime=runtime)


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.9, 0.999])
def test_a_truncated_onnx_file(tmp_path, kept):
    path, _ = sealed(tmp_path / "a.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=r"a\.onnx: "):
        Detector.load(path)


def test_a_file_that_loads_but_does_not_run(tmp_path):
    pytest.importorskip("onnxruntime")
    path = onnx_file(tmp_path / "a.onnx")
    content = bytearray(path.read_bytes())
    counts = content.find(np.array([1, 1, 1], np.int64).tobytes())
    content[counts : counts + 8] = np.array([-1], np.int64).tobytes()  # repetitions of the rows
    path.write_bytes(content)
    detector = Detector.load(path)
    with pytest.raises(InputError, match=r"a\.onnx: ONNX Runtime cannot run it \(.*damaged"):
        detector.detect(np.zeros((64, 64, 3), np.uint8))


def test_metadata_that_are_not_utf_8(tmp_path):
    path = onnx_file(tmp_path / "a.onnx")
    path.write_bytes(path.read_bytes().replace(b"resnet18", b"resnet\xff8"))
    with pytest.raises(InputError, match=r"a\.onnx: its metadata are not UTF-8 text"):
        Detector.load(path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_damage_of_an_openvino_model(tiny_folder, tmp_path, suffix):
    pytest.importorskip("openvino")
    from helpers.small_exports import export

    path = export(tiny_folder, "free.xml", "--format", "openvino")
    for name in (".xml", ".bin"):
        (tmp_path / f"a{name}").write_bytes(path.with_suffix(name).read_bytes())
    assert Detector.load(tmp_path / "a.xml").classes
    damaged = tmp_path / f"a{suffix}"
    content = bytearray(damaged.read_bytes())
    if suffix == ".bin":
        content[len(content) // 2] ^= 0x40
    else:
        content[content.find(b'strides="1,1"') + 9] = ord("2")
    damaged.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.xml" + DAMAGED):
        Detector.load(tmp_path / "a.xml")


@pytest.mark.slow
def test_an_exported_onnx_file_holds_its_digest(tiny_folder):
    pytest.importorskip("onnxscript")
    from helpers.small_exports import export

    path = export(tiny_folder, "free.onnx")
    assert onnx_props(path)[ONNX_KEY] == onnx_digest(path.read_bytes())
