"""The command line as a whole: help, exit codes, required packages, shared arguments."""

import argparse
import subprocess
import sys

import pytest

from DOTA_devkit.class_lists import find_class_file, parse_class_list
from DOTA_devkit.commands import COMMANDS, build_parser, main, name_flags
from DOTA_devkit.commands.arguments import (
    fraction,
    name_set,
    non_negative_int,
    positive_numbers,
    renames,
)
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import DOTA_CLASSES
from DOTA_devkit.tables import display_width, format_table
from helpers.paths import ROOT

LINE = "10 20 30 20 30 60 10 60"


def run(*arguments, block=(), cwd=ROOT, **settings):
    """Run a command in a process of its own, in which the modules in `block` cannot be imported."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        f"for name in {list(block)!r}: sys.modules[name] = None\n"
        "from DOTA_devkit.commands import main\n"
        f"sys.exit(main({[str(a) for a in arguments]!r}))"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        **settings,
    )


def test_help_of_every_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    overview = capsys.readouterr().out
    for command in sorted(subcommands()):
        assert command in overview
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0
        shown = capsys.readouterr().out
        assert "usage:" in shown and "%%" not in shown
        assert max(map(len, shown.splitlines())) <= 100
        assert ("\nexamples:\n  " in shown) == ("examples" in shown)


def subcommands():
    (action,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return action.choices


def test_parser_has_all_commands():
    assert set(subcommands()) == {
        "split",
        "split-images",
        "merge",
        "evaluate",
        "convert",
        "lists",
        "stats",
        "submit",
        "doctor",
    }
    assert len(COMMANDS) == 8


def test_every_argument_has_a_help_text():
    for name, parser in subcommands().items():
        for action in parser._actions:
            assert action.help, (name, action.dest)
            assert action.help % {"default": "", "prog": ""} is not None  # no stray percent sign


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["lists"], ["stats", "x", "--max_objs", "-1"]]
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_runs_as_a_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "DOTA_devkit", "stats", tmp_path / "none"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"error: {tmp_path / 'none'}: no such folder of labels\n"


def test_ctrl_c_exits_with_130(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("DOTA_devkit.commands.stats.read_label_set", interrupted)
    assert main(["stats", "labels"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_name_flags_replaces_known_parameters_only():
    message = "a.txt:1: `a` is no class; give `classes` or `hrsc_level`"
    expected = "a.txt:1: `a` is no class; give --classes or `hrsc_level`"
    assert name_flags(message, {"classes", "overwrite"}) == expected


def test_full_disk_is_an_error_and_leaves_no_files(tmp_path):
    labels = tmp_path / "labelTxt"
    labels.mkdir()
    (labels / "a.txt").write_text(f"{LINE} ship 0\n" * 2000)
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from DOTA_devkit.commands import main\n"
        f"sys.exit(main(['convert', 'dota', {str(labels)!r}, {str(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_closed_output_pipe_gives_no_traceback(tmp_path):
    labels = tmp_path / "labelTxt"
    labels.mkdir()
    (labels / "a.txt").write_text("".join(f"{LINE} class{i} 0\n" for i in range(5000)))
    done = subprocess.run(
        f"{sys.executable} -m DOTA_devkit stats {labels} | head -1",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("1 images, 5000 objects")
    assert "Traceback" not in done.stderr and "Broken pipe" not in done.stderr


def test_no_progress_bars_without_a_terminal(tmp_path):
    (tmp_path / "a.txt").write_text(f"{LINE} ship 0\n")
    done = run("stats", tmp_path)
    assert done.returncode == 0 and done.stderr == ""


HEAVY = ("cv2", "matplotlib", "tqdm", "torch", "torchvision", "rasterio", "PIL", "scipy")


@pytest.mark.slow
def test_commands_need_only_numpy_and_shapely(tmp_path):
    """merge, evaluate, lists, submit and convert run without any other package."""
    (tmp_path / "labelTxt").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "results").mkdir()
    for image_id in ("a", "b", "c"):
        (tmp_path / "labelTxt" / f"{image_id}.txt").write_text(f"{LINE} ship 0\n")
        (tmp_path / "images" / f"{image_id}.png").touch()
    (tmp_path / "results" / "Task1_ship.txt").write_text(f"a__1__0___0 0.9 {LINE}\n")
    merged = tmp_path / "merged"
    for arguments in [
        ("merge", tmp_path / "results", merged),
        ("evaluate", merged, tmp_path / "labelTxt"),
        ("lists", tmp_path, "--val", "0.3", "--test", "0.3"),
        ("submit", merged, tmp_path / "a.zip", "--classes", "ship", "--expected_images", "1"),
        ("convert", "dota", tmp_path / "labelTxt", tmp_path / "out"),
    ]:
        done = run(*arguments, block=HEAVY)
        assert done.returncode == 0, (arguments, done.stderr)
    (tmp_path / "images" / "a.png").write_bytes(b"not a header")
    done = run("stats", tmp_path / "labelTxt", block=HEAVY)
    assert done.returncode == 2 and "pip install opencv-python" in done.stderr
    done = run("evaluate", merged, tmp_path / "labelTxt", "--plot", tmp_path / "x.png", block=HEAVY)
    assert done.returncode == 2
    assert "pip install" in done.stderr and "Traceback" not in done.stderr


# --- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=b", {"a": "b"}),
        ("a=b, c d = e ", {"a": "b", "c d": "e"}),
        ("a=b=c", {"a": "b=c"}),
        ("佩里级=Perry,", {"佩里级": "Perry"}),
    ],
)
def test_renames(text, pairs):
    assert renames(text) == pairs


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (renames, "a"),
        (renames, "a="),
        (renames, "=b"),
        (non_negative_int, "-1"),
        (non_negative_int, "1.5"),
        (fraction, "1.1"),
        (fraction, "nan"),
        (fraction, "x"),
        (positive_numbers, "0.5,"),
        (positive_numbers, "0"),
        (positive_numbers, "nan"),
        (positive_numbers, "inf"),
    ],
)
def test_argument_types_reject_bad_values(kind, text):
    with pytest.raises(argparse.ArgumentTypeError):
        kind(text)


def test_name_set_and_positive_numbers():
    assert name_set("a, b,,c d") == {"a", "b", "c d"}
    assert positive_numbers("0.5,1") == (0.5, 1.0)
    assert (fraction("0"), fraction("1")) == (0.0, 1.0)


def test_parse_class_list(tmp_path):
    assert parse_class_list("a, b") == ("a", "b")
    assert parse_class_list("dota1.5") == DOTA_CLASSES["1.5"]
    path = tmp_path / "c.txt"
    path.write_bytes("\ufeffa b\r\n\r\n 船 \r\n".encode())
    assert parse_class_list(str(path)) == ("a b", "船")
    path.write_text("a\nb\na\n")
    with pytest.raises(InputError, match=r"c\.txt: has a more than once"):
        parse_class_list(str(path))
    path.write_text("\n")
    with pytest.raises(InputError, match="has no class names"):
        parse_class_list(str(path))
    for text, message in [("", "has no class"), ("x.txt", "no such file of class names")]:
        with pytest.raises(InputError, match=message):
            parse_class_list(text)


def test_find_class_file_prefers_the_label_folder(tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    assert find_class_file(labels) is None
    (tmp_path / "classes.txt").touch()
    assert find_class_file(labels) == tmp_path / "classes.txt"
    assert find_class_file(labels / "a.txt") == tmp_path / "classes.txt"
    (labels / "classes.txt").touch()
    assert find_class_file(labels) == labels / "classes.txt"


def test_format_table_aligns_wide_characters():
    assert format_table([]) == ""
    assert format_table([["", "n"], ["船", 12], ["abc", 1]]) == "      n\n船   12\nabc   1"
    assert display_width("a船ｗ") == 5
