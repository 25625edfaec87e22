"""Train, val and test lists: shares, repeatability, no source image in two lists."""

from collections import Counter

import pytest

from DOTA_devkit.commands import main
from DOTA_devkit.errors import InputError
from DOTA_devkit.lists import count_objects, group_by_source, lists_table, split_ids, write_lists

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def patches(source, count):
    return [f"{source}__1__{500 * k}___0" for k in range(count)]


def test_group_by_source_keeps_patches_together():
    ids = ["b", "a__1__0___0", "a", "a__0.5__0___500", "x__y", "x__y__1__0___0"]
    ids += ["a__b__1024__0___9"]
    assert group_by_source(ids) == {
        "a": ["a", "a__0.5__0___500", "a__1__0___0"],
        "a__b": ["a__b__1024__0___9"],
        "b": ["b"],
        "x__y": ["x__y", "x__y__1__0___0"],
    }


@pytest.mark.parametrize(
    ("ids", "shares"),
    [
        ([f"P{i}" for i in range(100)], SHARES),
        ([f"P{i}" for i in range(3)], SHARES),  # as many source images as lists: one per list
        ([p for i in range(40) for p in patches(f"P{i}", 1 + 7 * i % 11)], SHARES),
        ([*patches("huge", 1000), *(f"P{i}" for i in range(50))], SHARES),
        ([f"P{i}" for i in range(7)], {"train": 0.5, "val": 0.5, "test": 0}),
        (["one"], {"train": 1.0}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_split_ids_partitions_the_source_images(ids, shares, seed):
    lists = split_ids(ids, shares, seed)
    assert list(lists) == [name for name, share in shares.items() if share]
    assert sorted(i for members in lists.values() for i in members) == sorted(ids)
    sides = [{i.split("__1__")[0] for i in members} for members in lists.values()]
    assert all(not a & b for k, a in enumerate(sides) for b in sides[:k])
    assert all(lists.values())
    largest = max(Counter(i.split("__1__")[0] for i in ids).values())
    for name, members in lists.items():
        assert abs(len(members) - shares[name] * len(ids)) <= largest + 1


def test_split_ids_depends_on_the_seed_only():
    ids = [f"P{i}" for i in range(50)]
    first = split_ids(ids, SHARES, seed=3)
    assert split_ids(reversed(ids), SHARES, seed=3) == first
    assert split_ids(ids, SHARES, seed=4) != first


@pytest.mark.parametrize(
    ("ids", "shares", "message"),
    [
        (["a"], {"train": 0.9, "val": 0.2}, "add up to 1, got train 0.9, val 0.2"),
        (["a"], {"train": 1.1, "val": -0.1}, "0 or more"),
        (patches("a", 50), {"train": 0.9, "val": 0.1}, "1 source images cannot fill 2 lists"),
        ([], {"train": 1}, "0 source images"),
    ],
)
def test_split_ids_rejects_bad_shares(ids, shares, message):
    with pytest.raises(InputError, match=message):
        split_ids(ids, shares)


def test_write_lists_replaces_only_with_overwrite(tmp_path):
    write_lists({"train": ["a", "b"], "val": ["c"]}, tmp_path)
    assert (tmp_path / "train.txt").read_text() == "a\nb\n"
    with pytest.raises(
        InputError, match=r"train\.txt and 1 more would be replaced; .*give `overwrite`"
    ):
        write_lists({"train": ["x"], "val": ["c"]}, tmp_path)
    assert (tmp_path / "train.txt").read_text() == "a\nb\n"
    write_lists({"train": ["x"], "val": ["c"]}, tmp_path, overwrite=True)
    assert (tmp_path / "train.txt").read_text() == "x\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["train.txt", "val.txt"]


def test_count_objects_and_lists_table(tmp_path):
    (tmp_path / "a.txt").write_text("0 0 9 0 9 9 0 9 ship 0\n0 0 9 0 9 9 0 9 船 0\n")
    (tmp_path / "b.txt").write_text("0 0 9 0 9 9 0 9 ship 0\n")
    lists = {"train": ["a", "no_labels"], "val": ["b"]}
    objects = count_objects(lists, tmp_path)
    assert objects == {"train": {"ship": 1, "船": 1}, "val": {"ship": 1}}
    assert lists_table(lists, objects).splitlines() == [
        "               train  val",
        "images             2    1",
        "source images      2    1",
        "ship               1    1",
        "船                 1    0",
    ]


def test_command_writes_lists(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for name in [*patches("A", 6), *patches("B", 2), "C", "D"]:
        (tmp_path / "images" / f"{name}.jpg").touch()
    command = ["lists", str(tmp_path), "--val", "0.3", "--test", "0"]
    assert main(command) == 0
    assert not (tmp_path / "test.txt").exists()
    train, val = (set((tmp_path / f"{n}.txt").read_text().split()) for n in ("train", "val"))
    assert len(train | val) == 10 and not train & val
    assert {"A__1__0___0", "A__1__2500___0"} <= train or {"A__1__0___0", "A__1__2500___0"} <= val
    assert "source images" in capsys.readouterr().out
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "contains no folder of images"),
        (lambda p: (p / "images").mkdir(), "contains no folder of images"),
    ],
)
def test_command_without_images(tmp_path, capsys, make, message):
    make(tmp_path)
    assert main(["lists", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
