import os
import socket
from pathlib import Path

import pytest

from netwright.errors import BrokenFile
from netwright.files.folder import Folder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and pipes are made")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "inner").mkdir(parents=True)
    (folder / "precious").write_text("kept")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    (tmp_path / "run" / "trials" / "1").mkdir(parents=True)
    return Folder(tmp_path / "run")


def test_its_root_may_be_reached_through_links(run: Folder, tmp_path: Path) -> None:
    run.write("a", "text")
    (tmp_path / "link").symlink_to(run.path)
    assert Folder(tmp_path / "link").read("a") == b"text"


def test_no_link_below_it_is_followed(run: Folder, outside: Path) -> None:
    (run.path / "file").symlink_to(outside / "precious")
    (run.path / "trials" / "2").symlink_to(outside)
    linked = run / "trials" / "2"
    with pytest.raises(BrokenFile, match="run/file must be a file, got a link"):
        run.read("file")
    with pytest.raises(BrokenFile, match="2/precious cannot be read: it is reached through a link"):
        linked.read("precious")
    assert run.has("file")
    assert not run.has_file("file")
    assert not linked.has("precious")
    assert not linked.is_there
    assert linked.names() == []


def test_a_link_in_the_middle_ends_the_way(run: Folder, outside: Path) -> None:
    (run.path / "away").symlink_to(outside)
    inner = run / "away" / "inner"
    assert not inner.is_there
    with pytest.raises(OSError, match="Not a directory"):
        inner.write("file", "text")
    assert [*(outside / "inner").iterdir()] == []


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a socket", "a link"])
def test_only_regular_files_are_read(kind: str, run: Folder) -> None:
    path = run.path / "file"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a link":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    with pytest.raises(BrokenFile, match=f"must be a file, got {kind}"):
        run.read("file")
    with pytest.raises(BrokenFile, match=f"must be a file, got {kind}"):
        run.check("file")


def test_unreadable_files_are_named(run: Folder) -> None:
    (run.path / "empty").touch()
    run.write("ten", b"0123456789")
    with pytest.raises(BrokenFile, match="run/none cannot be read: No such file"):
        run.read("none")
    with pytest.raises(BrokenFile, match="run/empty must be a whole file, got an empty one"):
        run.read("empty")
    with pytest.raises(BrokenFile, match="run/ten must be at most 9 bytes, got 10"):
        run.read("ten", max_bytes=9)
    assert run.read("ten", max_bytes=10) == b"0123456789"
    run.check("none")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_a_name_leads_nowhere_else(name: str, run: Folder) -> None:
    with pytest.raises(ValueError, match="a file's name must be one name"):
        run / name
    with pytest.raises(ValueError, match="a file's name must be one name"):
        run.read(name)


def test_a_write_replaces_links_and_follows_none(run: Folder, outside: Path) -> None:
    (run.path / "model").symlink_to(outside / "precious")
    (run.path / ".model.part").symlink_to(outside / "precious")
    run.write("model", "new", sync=True)
    assert (run.path / "model").read_text() == "new"
    assert not (run.path / "model").is_symlink()
    assert (outside / "precious").read_text() == "kept"
    assert sorted(run.names()) == ["model", "trials"]


def test_a_write_that_fails_leaves_the_old_file(run: Folder) -> None:
    run.write("model", "old")

    def fail(_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run.write_with("model", fail)
    assert run.read("model") == b"old"
    assert run.names() == ["model", "trials"]


def test_a_file_that_another_process_writes_is_left_to_it(run: Folder) -> None:
    def other_writer(_: object) -> None:
        (run.path / ".model.part").unlink()
        (run.path / ".model.part").write_text("theirs")

    with pytest.raises(FileExistsError, match="another process is writing it"):
        run.write_with("model", other_writer)
    assert not run.has("model")


def test_a_copy_reads_no_link(run: Folder, outside: Path) -> None:
    run.write("a", "text")
    run.copy("a", run / "trials" / "1", "b")
    assert (run / "trials" / "1").read("b") == b"text"
    (run.path / "link").symlink_to(outside / "precious")
    with pytest.raises(BrokenFile, match="must be a file, got a link"):
        run.copy("link", run, "c")
    assert not run.has("c")


def test_clearing_removes_links_themselves(run: Folder, outside: Path) -> None:
    trial = run / "trials" / "1"
    (trial.path / "link").symlink_to(outside)
    (trial.path / "fold").mkdir()
    (trial.path / "fold" / "link").symlink_to(outside)
    trial.write("about.json", "{}")
    trial.clear(keep={"about.json"})
    assert trial.names() == ["about.json"]
    assert sorted(path.name for path in outside.iterdir()) == ["inner", "precious"]


def test_clearing_a_link_touches_nothing(run: Folder, outside: Path) -> None:
    (run.path / "trials" / "2").symlink_to(outside)
    (run / "trials" / "2").clear()
    (run / "trials").remove("2")
    (run / "trials").remove("2")
    assert (outside / "precious").read_text() == "kept"
    assert (run / "trials").names() == ["1"]


def test_make_replaces_only_its_own_link(run: Folder, outside: Path) -> None:
    (run.path / "trials" / "2").symlink_to(outside)
    with pytest.raises(BrokenFile, match="trials/2 must be a folder, got a link"):
        (run / "trials" / "2").make()
    (run / "trials" / "2").make(replaces_links=True)
    (run / "trials" / "2").write("a", "text")
    (run.path / "supernet").symlink_to(outside)
    with pytest.raises(BrokenFile, match="supernet must be a folder, got a link"):
        (run / "supernet" / "2").make(replaces_links=True)
    assert sorted(path.name for path in outside.iterdir()) == ["inner", "precious"]


def test_file_properties_are_reported(run: Folder) -> None:
    run.write("a", b"0123456789")
    os.link(run.path / "a", run.path / "b")
    assert (run.size("a"), run.size("none"), run.size("trials")) == (10, 0, 0)
    assert (run.links("a"), run.links("none")) == (2, 0)
    assert run.ends_with("a", b"89")
    assert not run.ends_with("a", b"01234567890123")
    assert str(run / "trials") == str(run.path / "trials")
    assert Folder.of(run) == run == Folder.of(run.path)


def test_without_descriptors_links_are_refused_as_well(
    run: Folder, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netwright.files.folder._BY_DESCRIPTOR", False)
    run.write("a", "text")
    assert run.read("a") == b"text"
    (run.path / "trials" / "2").symlink_to(outside)
    (run.path / "file").symlink_to(outside / "precious")
    with pytest.raises(BrokenFile, match="must be a file, got a link"):
        run.read("file")
    with pytest.raises(BrokenFile, match="reached through a link"):
        (run / "trials" / "2").read("precious")
    (run / "trials").remove("2")
    (run / "trials" / "2").make()
    (run / "trials" / "2").clear()
    assert (outside / "precious").read_text() == "kept"


def test_a_file_is_synced_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(handle: int) -> None:
        events.append("folder" if Path(f"/proc/self/fd/{handle}").resolve().is_dir() else "file")
        fsync(handle)

    def noted_replace(*names: str, **folders: int) -> None:
        events.append("rename")
        replace(*names, **folders)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    Folder(tmp_path).write("model.onnx", b"new", sync=True)
    assert events == ["file", "rename", "folder"]
    assert (tmp_path / "model.onnx").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_link_named_like_the_temporary_file_is_replaced(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (tmp_path / ".model.onnx.part").symlink_to(outside)
    Folder(tmp_path).write("model.onnx", b"new", sync=True)
    assert outside.read_bytes() == b"precious"
    assert not (tmp_path / "model.onnx").is_symlink()


def test_files_are_written_with_the_usual_permissions(tmp_path: Path) -> None:
    Folder(tmp_path).write("model.onnx", b"new", sync=True)
    (tmp_path / "plain").write_bytes(b"new")
    assert (tmp_path / "model.onnx").stat().st_mode == (tmp_path / "plain").stat().st_mode


def synced(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `sync` hands to the disk, by path, in this order."""
    paths: list[str] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        paths.append(str(Path(f"/proc/self/fd/{handle}").readlink().relative_to(folder.root)))
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noted)
        folder.sync()
    return paths


only_linux = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="says what is open")


@only_linux
def test_files_are_synced_before_the_names_above_them(
    run: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = run / "trials" / "1"
    (trial / "fold-0").make()
    (trial / "fold-0").write("weights", "w")
    trial.write("held-out", "h")
    assert synced(trial, monkeypatch) == [
        "trials/1/fold-0/weights", "trials/1/fold-0", "trials/1/held-out", "trials/1", "trials",
    ]  # fmt: skip


@only_linux
def test_an_empty_folder_costs_no_wait_for_the_disk(
    run: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert synced(run / "trials" / "1", monkeypatch) == []


@only_linux
def test_links_and_pipes_are_not_synced(
    run: Folder, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = run / "trials" / "1"
    (trial.path / "folder").symlink_to(outside)
    (trial.path / "file").symlink_to(outside / "precious")
    os.mkfifo(trial.path / "pipe")
    trial.write("own", "x")
    assert synced(trial, monkeypatch) == ["trials/1/own", "trials/1", "trials"]
