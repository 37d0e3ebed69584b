"""What the documentation shows runs: the examples, and the README's research layer."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(code: list[str], place: Path) -> str:
    command = [sys.executable, *code]
    found = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    assert run([str(example), "4"], tmp_path).strip()
    assert [path.name for path in tmp_path.iterdir()] in ([], ["runs"])


def test_the_research_layer_of_the_readme_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (code,) = [block for block in blocks if "nw.Study(" in block]
    short = code.replace("trials=20", "trials=3").replace("epochs=5", "epochs=1")
    assert short != code
    assert run(["-c", short], tmp_path).strip()


def test_every_page_of_the_site_is_there() -> None:
    pages = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert len(pages) > 5
    assert [page for page in pages if not (ROOT / "docs" / page).is_file()] == []
