"""The digest of sources: it changes with what counts, and with nothing else."""

from __future__ import annotations

import pytest

from symc.core import version


@pytest.fixture
def package(tmp_path, monkeypatch):
    for name in ("codegen/kernel.py", "codegen/nest/form.py", "codegen/cpu/tile.py", "codegen/cuda/grid.py", "a/b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr(version, "_PACKAGE", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name, counts",
    [
        ("codegen/kernel.py", True),
        ("codegen/nest/form.py", True),
        ("codegen/cpu/tile.py", True),
        ("codegen/cuda/grid.py", False),
        ("a/b.py", False),
        ("codegen/cpu/notes.txt", False),
    ],
)
def test_a_device_counts_when_it_is_named(package, name, counts):
    digest = version.source_digest.__wrapped__
    before = digest("codegen", "codegen/cpu")
    (package / name).write_text("# changed")
    assert (digest("codegen", "codegen/cpu") != before) == counts


def test_the_cpu_names_what_its_kernels_are_made_of(monkeypatch):
    asked = []
    monkeypatch.setattr("symc.codegen.cpu.backend.source_digest", lambda *folders: asked.append(folders) or "0")
    from symc.context import cpu

    cpu().device.backend.identity()
    assert asked == [("loopir", "codegen", "codegen/cpu")]
