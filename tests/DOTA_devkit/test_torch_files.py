"""Files of tensors: atomic writing, and reading that never runs code."""

import errno
import multiprocessing
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from DOTA_devkit.errors import InputError
from DOTA_devkit.torch_files import read_torch_file, split_state, to_plain, write_torch_file
from helpers.command_line import limit_file_size

FORK = multiprocessing.get_context("fork")  # needs no import of PyTorch in each process


class Code:
    """Makes a folder when it is unpickled with code execution."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


def saved(content: object, path: Path, **options) -> Path:
    torch.save(content, path, **options)
    return path


def test_round_trip(tmp_path):
    content = {
        "state": {"a": torch.arange(3.0)},
        "list": [1, 2.5, None, "x"],
        "tuple": (True, b"y"),
    }
    write_torch_file(tmp_path / "a.pth", content)
    back = read_torch_file(tmp_path / "a.pth")
    assert torch.equal(back.pop("state")["a"], content.pop("state")["a"])
    assert back == content
    assert os.listdir(tmp_path) == ["a.pth"]


def test_existing_file_is_replaced(tmp_path):
    write_torch_file(tmp_path / "a.pth", {"epoch": 1})
    write_torch_file(tmp_path / "a.pth", {"epoch": 2})
    assert read_torch_file(tmp_path / "a.pth") == {"epoch": 2}


@pytest.mark.parametrize("limit", [0, 100_000])  # writable bytes: none, or half of the tensor
def test_full_disk_keeps_the_old_file(tmp_path, limit):
    path = tmp_path / "a.pth"
    write_torch_file(path, {"epoch": 1})
    message = f"cannot write {path}: File too large; the existing file is unchanged"
    with limit_file_size(limit), pytest.raises(InputError, match=re.escape(message)):
        write_torch_file(path, {"a": torch.zeros(50_000)})
    assert os.listdir(tmp_path) == ["a.pth"]
    assert read_torch_file(path) == {"epoch": 1}


def test_no_space_left(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"a\.pth: No space left on device$"):
        write_torch_file(tmp_path / "a.pth", {"a": torch.zeros(1000)})
    assert os.listdir(tmp_path) == []


def test_a_link_beside_the_file_is_not_followed(tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "a.pth.tmp").symlink_to(precious)
    (folder / "a.pth").symlink_to(precious)
    write_torch_file(folder / "a.pth", {"epoch": 1})
    assert precious.read_text() == "precious"
    assert not (folder / "a.pth").is_symlink()
    assert read_torch_file(folder / "a.pth") == {"epoch": 1}


def test_two_writers_leave_a_whole_file_at_any_time(tmp_path):
    """Each has a temporary file of its own."""
    path = tmp_path / "a.pth"

    def write(size):
        torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
        for _ in range(20):
            write_torch_file(path, {"a": torch.full((size,), 1.0)})

    writers = [FORK.Process(target=write, args=(size,)) for size in (50_000, 100_000)]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            assert len(read_torch_file(path)["a"]) in (50_000, 100_000)
            reads += 1
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert reads and os.listdir(tmp_path) == ["a.pth"]


def test_path_is_a_folder(tmp_path):
    (tmp_path / "a.pth").mkdir()
    with pytest.raises(InputError, match=r"a\.pth: Is a directory"):
        write_torch_file(tmp_path / "a.pth", {})
    assert os.listdir(tmp_path) == ["a.pth"]


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_missing_folder(tmp_path, folder):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*a\.pth: No.* directory|Not a directory"):
        write_torch_file(tmp_path / folder / "a.pth", {})


def test_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    write_torch_file(tmp_path / "a.pth", {"epoch": 1})

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_torch_file(tmp_path / "a.pth", {"epoch": 2})
    assert os.listdir(tmp_path) == ["a.pth"]
    assert read_torch_file(tmp_path / "a.pth") == {"epoch": 1}


class Colour(IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (np.float64(0.5), 0.5),  # an instance of float, but pickled as NumPy's
        (np.int32(7), 7),
        (np.bool_(True), True),
        (Path("a/b"), str(Path("a/b"))),
        ([np.float32(1), (2, np.int64(3))], [1.0, (2, 3)]),
        ({"a": {1: np.float64(2)}}, {"a": {1: 2.0}}),
        (OrderedDict(a=1), OrderedDict(a=1)),
    ],
)
def test_to_plain_converts_numbers_and_paths(value, plain):
    result = to_plain(value)
    assert result == plain
    assert type(result) is type(plain)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (np.zeros(3), r"content is a ndarray"),
        ({"a": [1, {2}]}, r"content\['a'\]\[1\] is a set"),
        ({"a": nn.Linear(1, 1)}, r"content\['a'\] is a Linear"),
        ([Colour.RED], r"content\[0\] is a Colour"),
        ({"f": len}, r"content\['f'\] is a builtin_function"),
    ],
)
def test_to_plain_names_the_refused_value(value, where):
    with pytest.raises(TypeError, match=where):
        to_plain(value)


def test_to_plain_converts_parameters():
    assert type(to_plain(nn.Parameter(torch.zeros(2)))) is torch.Tensor


def test_code_in_a_file_is_not_run(tmp_path):
    mark = tmp_path / "mark"
    content = {"model_state_dict": {"a": torch.zeros(1)}, "x": Code(mark)}
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        path = saved(content, tmp_path / "a.pth", **options)
        with pytest.raises(InputError, match=r"a\.pth: refused.*mkdir.*could run code"):
            read_torch_file(path)
    path.write_bytes(pickle.dumps(Code(mark), protocol=2))
    with pytest.raises(InputError, match=r"a\.pth: "):
        read_torch_file(path)
    assert not mark.exists()


def test_whole_module_is_refused(tmp_path):
    path = saved(nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth: refused.*Linear.*state_dict"):
        read_torch_file(path)


@pytest.mark.parametrize(
    "content", [b"no checkpoint " * 9, b"\x89PNG\r\n\x1a\n" + bytes(99), b"\0"]
)
def test_files_of_other_formats(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pth: not a file of torch\.save"):
        read_torch_file(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "zipped", [True, False]
)  # the current format, and the one before PyTorch 1.6
@pytest.mark.parametrize("kept", [0.99, 0.5, 0.01])
def test_truncated_files(tmp_path, zipped, kept):
    content = {"a": torch.zeros(1000)}
    path = saved(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_torch_file(path)["a"], content["a"])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=r"a\.pth: .*truncated or damaged"):
        read_torch_file(path)


@pytest.mark.parametrize("byte", [0, 1999, 3999])
def test_a_damaged_byte_of_a_tensor(tmp_path, byte):
    """PyTorch's reader does not look at the checksums, which torch.save writes."""
    values = torch.arange(1.0, 1001.0)
    path = saved({"a": values, "b": torch.zeros(9)}, tmp_path / "a.pth")
    content = bytearray(path.read_bytes())
    content[content.find(values.numpy().tobytes()) + byte] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pth: the file is damaged: .* \S+/data/0 "):
        read_torch_file(path)


def test_a_file_written_without_checksums(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        path = saved({"a": torch.arange(9.0)}, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    with zipfile.ZipFile(path) as archive, pytest.raises(zipfile.BadZipFile):
        archive.read(archive.namelist()[0])
    assert torch.equal(read_torch_file(path)["a"], torch.arange(9.0))


def test_a_packed_zip_file_is_refused(tmp_path):
    """torch.save never packs; what unpacks to gigabytes must not."""
    whole = saved({"a": torch.zeros(100_000)}, tmp_path / "whole.pth")
    with (
        zipfile.ZipFile(whole) as source,
        zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert (tmp_path / "a.pth").stat().st_size < 4000
    with pytest.raises(InputError, match=r"a\.pth: .* unpack to more than it holds"):
        read_torch_file(tmp_path / "a.pth")


def test_a_zip_file_whose_directory_is_damaged(tmp_path):
    path = saved({"a": torch.zeros(9)}, tmp_path / "a.pth")
    content = bytearray(path.read_bytes())
    entry = content.find(b"PK\x01\x02")  # the first entry of its directory
    content[entry : entry + 4] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pth: not a file of torch\.save .*damaged"):
        read_torch_file(path)


def test_a_file_that_unpacks_to_gigabytes(tmp_path):
    """45 bytes that make a bytearray of 2 GB; nothing is made before the file is refused."""
    packed = pickle.dumps({"a": 1}, 2)
    bomb = b"cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x80\x00\x85R"
    (tmp_path / "a.pth").write_bytes(packed.replace(b"}", bomb, 1))
    with pytest.raises(InputError, match=r"a\.pth: refused, because it holds a bytearray"):
        read_torch_file(tmp_path / "a.pth")


def test_tensors_larger_than_their_file_are_refused(tmp_path):
    path = saved({"a": torch.zeros(1).expand(3 * 10**8)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth: its tensors unpack to 1\.2 GB"):
        read_torch_file(path)


def test_tensors_may_share_memory(tmp_path):
    values = torch.arange(300_000.0)
    back = read_torch_file(saved({"a": values, "b": values[1:]}, tmp_path / "a.pth"))
    assert back["a"].data_ptr() + 4 == back["b"].data_ptr()


def test_deeply_shared_lists_are_read_quickly(tmp_path):
    value = [torch.zeros(1)]
    for _ in range(60):
        value = [value, value]  # 2 ** 60 paths lead to the tensor
    assert len(read_torch_file(saved({"a": value}, tmp_path / "a.pth"))["a"]) == 2


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.to_sparse(),
        lambda value: value.to("meta"),
        lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
    ],
)
def test_tensors_that_are_not_plain_are_refused(tmp_path, change):
    path = saved({"a": [change(torch.ones(2, 2))]}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth: it holds a tensor that is not a plain one"):
        read_torch_file(path)


def test_unrelated_zip_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(InputError, match=r"a\.pth: not a file of torch\.save"):
        read_torch_file(tmp_path / "a.pth")


def test_empty_file(tmp_path):
    (tmp_path / "a.pth").touch()
    with pytest.raises(InputError, match=r"a\.pth: the file is empty \(0 bytes\)"):
        read_torch_file(tmp_path / "a.pth")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"a\.pth: no such file"):
        read_torch_file(tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"is a folder, not a file"):
        read_torch_file(tmp_path)


STATE = {"a.weight": torch.zeros(2)}


@pytest.mark.parametrize(
    ("content", "rest"),
    [
        (STATE, {}),
        (OrderedDict(STATE), {}),
        ({"model_state_dict": STATE, "epoch": 3}, {"epoch": 3}),
        ({"state_dict": STATE, "epoch": 3}, {"epoch": 3}),
        ({"model": STATE, "model_state_dict": None}, {"model_state_dict": None}),
    ],
)
def test_split_state(content, rest, tmp_path):
    state, beside = split_state(content, tmp_path)
    assert state.keys() == STATE.keys()
    assert beside == rest


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({}, "a dict with nothing in it"),
        ({"epoch": 3, "model_state_dict": {}}, "a dict with epoch, model_state_dict"),
        (["a"], "a list"),
        (torch.zeros(3), "a Tensor"),
        (5, "a int"),
    ],
)
def test_split_state_without_weights(content, found):
    with pytest.raises(InputError, match=rf"a\.pth: no weights found;.* {found}"):
        split_state(content, Path("a.pth"))
