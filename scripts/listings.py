"""Write what follows from the catalog: the public names and the page of all there is.

    python scripts/listings.py [--check]

Writes ``src/netwright/__init__.pyi`` and ``docs/catalog.md``. `--check` writes nothing, and ends with
1 where one of them is not what the rows of ``netwright.catalog`` say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from netwright import catalog
from netwright.networks.zero_cost.scores import ZERO_COST_SCORES
from netwright.trials.metrics import METRICS

ROOT = Path(__file__).parent.parent

HEAD = """# Catalog

This page is generated from `netwright.catalog`. Strategies and families are listed under their
command-line names; in Python, pass objects instead.
"""


def public_names() -> str:
    """The text of ``__init__.pyi``: each name with its place, in the order of the rows."""
    lines = ["__version__: str", ""]
    lines += [f"from . import {name} as {name}" for name in catalog.MODULES]
    for place in catalog.public_import_paths():
        module, _, name = place.partition(":")
        lines.append(f"from .{module} import {name} as {name}")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The text of ``docs/catalog.md``."""
    parts = [
        HEAD,
        "## Strategies\n\nThey see candidates and results only.",
        table(("--strategy", "what it is"), ((row.name, row.help) for row in catalog.BLACK_BOX)),
        f"`{'`, `'.join(catalog.WRAPPERS)}` take their candidates from any other: `asha+evolution`. "
        "`module:Object` is your own, from a module in this folder or an installed one.",
        "## Strategies that share weights\n\nThese strategies first train one network with shared "
        "weights, then propose the candidates that it ranks highest.",
        table(("--strategy", "what it is"), ((row.name, row.help) for row in catalog.SUPERNETS)),
        "## Without a search",
        table(
            ("--strategy", "what it is"), ((row.name, row.help) for row in catalog.WITHOUT_SEARCH)
        ),
        "## Families of models for tables",
        table(
            ("--families", "model", "what it is"),
            (
                (
                    row.name,
                    object_of(row.model),
                    row.help + (" (extra `boost`)" if row.requires else ""),
                )
                for row in catalog.FAMILIES
            ),
        ),
        "## Layers",
        entries("layer", catalog.LAYERS),
        "## Spaces for images\n\n`--space` takes one of these, or `module:Object`: your own, also for "
        "tables.",
        table(("--space", "what it is"), ((row.name, row.help) for row in catalog.IMAGE_SPACES)),
        "## Preprocessing",
        entries("step", catalog.PREPROCESSING),
        "## Augmentation",
        entries("augmentation", catalog.AUGMENTATIONS),
        "## Metrics",
        table(
            ("metric", "better", "unit", "what it is"),
            (
                (name, "higher" if one.direction == "max" else "lower", one.unit, one.meaning)
                for name, one in METRICS.items()
            ),
        ),
        "## Zero-cost scores\n\nHigher is better in all.",
        table(
            ("score", "what it is"),
            ((name, first_paragraph(one)) for name, one in ZERO_COST_SCORES.items()),
        ),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def entries(kind: str, rows: Iterable[catalog.Entry]) -> str:
    """A table of what Python knows by its class."""
    return table((kind, "what it is"), ((row.name, row.help) for row in rows))


def table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """In Markdown; the first column is code."""
    heading = list(heading)
    lines = [f"| {' | '.join(heading)} |", "|" + "---|" * len(heading)]
    for first, *rest in rows:
        cells = (cell.replace("|", "\\|") for cell in rest)
        lines.append(f"| `{first}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def first_paragraph(thing: object) -> str:
    """Of its docstring, in one line."""
    return " ".join((thing.__doc__ or "").partition("\n\n")[0].split())


def object_of(place: str) -> str:
    """The name of an object as code; empty for none."""
    return f"`{place.partition(':')[2]}`" if place else ""


def main() -> None:
    """Write both files, or with `--check` say which of them is stale."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    files = {
        ROOT / "src/netwright/__init__.pyi": public_names(),
        ROOT / "docs/catalog.md": page(),
    }
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is not what the catalog says. Run: make listings")
        else:
            path.write_text(files[path])
            print(f"{path.relative_to(ROOT)} written")
    sys.exit(bool(stale) and check)


if __name__ == "__main__":
    main()
