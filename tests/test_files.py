"""Files of a sweep are whole or not there, in a folder or behind an address."""

import pytest

from workbench.errors import InputError
from workbench.files import Store


@pytest.fixture(params=["path", "file", "memory"])
def store(request, tmp_path):
    return Store.at({"path": tmp_path / "a", "file": f"file://{tmp_path}/a", "memory": f"memory://{tmp_path.name}/a/"}[request.param])


def test_what_is_written_is_read_and_listed(store):
    assert store.names("runs") == []
    store.write("runs/b.ipynb", b"1")
    store.write("runs/a.ipynb", b"2")
    store.write("runs/a.ipynb", b"3")
    assert store.read("runs/a.ipynb") == b"3"
    assert store.names("runs") == ["a.ipynb", "b.ipynb"]
    assert store.names() == ["runs"]
    with pytest.raises(FileNotFoundError):
        store.read("runs/c.ipynb")


def test_a_failed_write_leaves_what_was_there(tmp_path):
    store = Store.at(tmp_path)
    store.write("x", b"whole")
    with pytest.raises(TypeError):
        store.write("x", "no bytes")
    assert store.read("x") == b"whole"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_half_written_files_are_not_listed_and_swept_up(tmp_path):
    store = Store.at(tmp_path)
    store.write("runs/a", b"")
    (tmp_path / "runs" / ".a.123").write_bytes(b"half")
    assert store.names("runs") == ["a"]
    store.sweep_up("runs")
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["a"]


def test_an_address_of_no_known_kind(tmp_path):
    with pytest.raises(InputError, match="nowhere://x: cannot be reached"):
        Store.at("nowhere://x").names()


def test_paths_are_absolute_so_that_workers_find_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Store.at("runs/a").url == str(tmp_path / "runs" / "a")
