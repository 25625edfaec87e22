"""How many cores there are for a process, and how OpenMP's threads wait."""

import os

import pytest

from DOTA_devkit import cores


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),  # no control groups
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),  # one and a half
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "800000 100000\n"}, None),  # as many as there are
        ({"cpu.max": "1600000 100000\n"}, None),
        ({"cpu.max": "broken"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "1000\n", "cpu/cpu.cfs_period_us": "0\n"}, None),
    ],
)
def test_quota_of_a_container(tmp_path, eight_cores, files, quota):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores.quota_cores(tmp_path) == quota
    assert cores.usable_cores(tmp_path) == (quota or 8)
    assert cores.network_threads(tmp_path, tmp_path / "none") == (quota or 8)


def test_hardware_threads_of_a_core_count_once(tmp_path, eight_cores):
    for cpu in range(6):  # nothing is known of the last two
        folder = tmp_path / f"system/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 3},{cpu % 3 + 3}\n")
    assert cores.network_threads(tmp_path, tmp_path / "system") == 5
    (tmp_path / "cpu.max").write_text("400000 100000")
    assert cores.network_threads(tmp_path, tmp_path / "system") == 4
    assert cores.usable_cores(tmp_path) == 4


def test_systems_without_affinity_and_load(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "getloadavg", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores.usable_cores(tmp_path) == cores.network_threads(tmp_path) == 6
    assert cores.busy_cores() is None


def test_threads_wait_briefly_unless_set_otherwise():
    environment = {"PATH": "/bin"}
    cores.wait_briefly(environment)
    assert environment == {"PATH": "/bin", "GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        own = {name: "ACTIVE"}
        cores.wait_briefly(own)
        assert own == {name: "ACTIVE"}
