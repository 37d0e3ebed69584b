from __future__ import annotations

import os
from pathlib import Path

import pytest

from netwright.deploy.files import read_model, write_whole
from netwright.errors import InputError


def test_a_file_is_synced_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(handle: int) -> None:
        events.append("folder" if Path(f"/proc/self/fd/{handle}").resolve().is_dir() else "file")
        fsync(handle)

    def noted_replace(self: Path, target: Path) -> Path:
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_whole(tmp_path / "model.onnx", b"new")
    assert events == ["file", "rename", "folder"]
    assert (tmp_path / "model.onnx").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_link_named_like_the_temporary_file_is_replaced(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (tmp_path / ".model.onnx.part").symlink_to(outside)
    write_whole(tmp_path / "model.onnx", b"new")
    assert outside.read_bytes() == b"precious"
    assert not (tmp_path / "model.onnx").is_symlink()


def test_files_are_written_with_the_usual_permissions(tmp_path: Path) -> None:
    write_whole(tmp_path / "model.onnx", b"new")
    (tmp_path / "plain").write_bytes(b"new")
    assert (tmp_path / "model.onnx").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(InputError, match="got something that is no regular file"):
        read_model(tmp_path / "model.onnx")
