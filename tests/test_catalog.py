"""Every row of the catalog can be imported; help, docs and public names follow from the rows."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

import netwright
from netwright import catalog
from netwright.automl.tabular.families import installed_families

KINDS = (
    catalog.BLACK_BOX, catalog.SUPERNETS, catalog.WITHOUT_SEARCH, catalog.LAYERS,
    catalog.PREPROCESSING, catalog.AUGMENTATIONS, catalog.IMAGE_SPACES,
)  # fmt: skip


@pytest.fixture(scope="module")
def listings() -> ModuleType:
    path = Path(__file__).parent.parent / "scripts" / "listings.py"
    spec = importlib.util.spec_from_file_location("listings", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(rows: Iterable[catalog.Entry | catalog.Family]) -> list[str]:
    return [row.name for row in rows]


@pytest.mark.parametrize("row", [row for rows in KINDS for row in rows], ids=lambda row: row.name)
def test_entries_can_be_imported_and_are_public(row: catalog.Entry) -> None:
    loaded = catalog.load(row.import_path)
    if row.public:
        assert getattr(netwright, row.import_path.partition(":")[2]) is loaded
    assert row.help
    assert not row.help.endswith(".")


@pytest.mark.parametrize("row", catalog.FAMILIES, ids=lambda row: row.name)
def test_families_have_a_pipeline_and_a_model(row: catalog.Family) -> None:
    assert callable(catalog.load(row.import_path))
    if row.model:
        assert getattr(netwright, row.model.partition(":")[2]) is catalog.load(row.model)
    assert row.name in installed_families() or row.requires


@pytest.mark.parametrize("rows", [*KINDS, catalog.FAMILIES])
def test_names_are_unique(rows: tuple[catalog.Entry, ...]) -> None:
    assert len(set(names(rows))) == len(rows)


def test_speed_ranks_of_families_are_unique() -> None:
    assert sorted(row.speed_rank for row in catalog.FAMILIES) == list(
        range(1, len(catalog.FAMILIES) + 1)
    )


def test_wrappers_and_the_default_are_strategies() -> None:
    assert {*catalog.WRAPPERS, catalog.DEFAULT_STRATEGY} <= set(names(catalog.BLACK_BOX))


def test_stub_and_catalog_page_are_up_to_date(listings: ModuleType) -> None:
    """When this fails: make listings."""
    stub = Path(netwright.__file__).with_suffix(".pyi")
    assert stub.read_text() == listings.public_names()
    assert (listings.ROOT / "docs" / "catalog.md").read_text() == listings.page()


def test_the_help_names_all_strategies_and_families(capsys: pytest.CaptureFixture[str]) -> None:
    from netwright.cli.app import main

    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    text = capsys.readouterr().out
    words = set(text.replace(",", " ").replace(";", " ").replace(".", " ").split())
    assert words.issuperset(names(catalog.BLACK_BOX) + names(catalog.SUPERNETS))
    assert words.issuperset(names(catalog.WITHOUT_SEARCH))
    assert words.issuperset(names(catalog.FAMILIES))


def test_a_bar_in_a_help_line_does_not_end_a_cell(listings: ModuleType) -> None:
    assert listings.table(("a", "b"), [("x", "|w|")]).splitlines()[-1] == "| `x` | \\|w\\| |"
