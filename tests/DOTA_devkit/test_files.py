"""Output files: atomic writes, and checks before the work starts."""

import errno
import os

import pytest

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import (
    appending,
    refuse_existing,
    refuse_unwritable,
    remedy,
    replacing,
    sweep_leftovers,
)


def test_replacing_writes_text_with_unix_line_ends(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with replacing(path) as file:
        file.write("船\n")
        assert not path.exists()
    assert path.read_bytes() == "船\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_replacing_keeps_the_old_file_after_an_error(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), replacing(path, "wb") as file:
        file.write(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_replacing_does_not_follow_a_link(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda count: "0123abcd")
    (tmp_path / "precious.txt").write_text("precious")
    (tmp_path / ".a.txt.0123abcd.tmp").symlink_to(tmp_path / "precious.txt")
    with pytest.raises(FileExistsError), replacing(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "precious.txt").read_text() == "precious"


def test_appending_does_not_follow_a_link(tmp_path):
    for text in (b"one\n", b"two\n"):
        with appending(tmp_path / "a.txt") as file:
            file.write(text)
    assert (tmp_path / "a.txt").read_bytes() == b"one\ntwo\n"
    (tmp_path / "b.txt").symlink_to(tmp_path / "a.txt")
    with pytest.raises(OSError, match="a link, where a file is expected"):
        appending(tmp_path / "b.txt")


def test_sweep_leftovers_deletes_its_own_files_alone(tmp_path):
    kept = [".a.tmp", "a.0123abcd.tmp", ".a.txt.0123abcd.tmp.txt", ".a.txt.notahexa.tmp", "a.txt"]
    for name in [*kept, ".a.txt.0123abcd.tmp", ".model_last.pth.89abcdef.tmp"]:
        (tmp_path / name).touch()
    sweep_leftovers(tmp_path)
    sweep_leftovers(tmp_path / "missing")
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def test_replacing_names_the_file_in_a_write_error(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError) as raised, replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.filename == str(path)
    assert remedy(raised.value) == "make room"
    assert remedy(OSError(errno.EACCES, "Permission denied")) == "make it writable"


def test_refuse_unwritable_names_the_parameter(tmp_path):
    refuse_unwritable(tmp_path / "new" / "folder")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^output .*file is a file, and a folder is expected$"):
        refuse_unwritable(tmp_path / "file" / "folder")
    with pytest.raises(InputError, match=r"^list_dir "):
        refuse_unwritable(tmp_path / "file", "list_dir")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_refuse_unwritable_finds_a_locked_folder(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(InputError, match="nothing can be written in"):
        refuse_unwritable(tmp_path / "locked" / "new")


def test_refuse_existing_names_the_parameter_and_counts(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    refuse_existing(paths, overwrite=False)
    for path in paths[1:]:
        path.touch()
    with pytest.raises(InputError, match=r"b and 1 more would be replaced; .*give `overwrite`"):
        refuse_existing(paths, overwrite=False)
    refuse_existing(paths, overwrite=True)
