"""The columns of a table: which hold a decision or a metric, and how a file is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from netwright._optional import import_optional
from netwright.errors import InputError, Phrase, closest, expected
from netwright.space.candidate import Value

if TYPE_CHECKING:
    import pandas as pd

_MAX_COLUMNS_SHOWN = 12
"""Columns that an error names."""


@dataclass(frozen=True)
class DecisionColumn:
    """The column of a table that holds a decision; its cell is empty if the decision is inactive.

    Args:
        column: its name.
        codes: the decision's values, if cells are whole numbers that index them; empty if cells
            hold the values.
    """

    column: str
    codes: tuple[Value, ...] = ()


@dataclass(frozen=True)
class MetricColumns:
    """The columns of a table that hold a metric, one for each repetition.

    An empty or infinite cell is a repetition that the table does not have.

    Args:
        columns: their names.
        scale: factor from a cell to the metric, such as 0.01 for percent.
        where: column -> value; only rows with these values hold the metric, as in a table with a
            row for each epoch, or for each metric.

    Example:
        >>> MetricColumns.of("val_acc_seed0", "val_acc_seed1", scale=0.01)
        >>> MetricColumns.of("val_acc", where={"epoch": 12})
    """

    columns: tuple[str, ...]
    scale: float = 1.0
    where: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def of(
        cls, *columns: str, scale: float = 1.0, where: Mapping[str, Value] | None = None
    ) -> MetricColumns:
        """Make it of column names as arguments.

        Args:
            *columns: their names, one for each repetition.
            scale: see the class.
            where: see the class.

        Returns:
            The columns of the metric.
        """
        return cls(columns, scale, where or {})


Fidelities = Mapping[float, Mapping[str, MetricColumns]]
"""Fidelity in (0, 1] -> metric -> its columns; 1 is required."""


def read_columns(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return the named columns of a parquet or CSV file; InputError if it lacks one."""
    import pandas as pd

    names = column_names(file)
    for name in columns:
        if name not in names:
            shown = ", ".join(names[:_MAX_COLUMNS_SHOWN])
            shown += ", ..." if len(names) > _MAX_COLUMNS_SHOWN else ""
            fix = closest(name, names) or f"It has: {shown}."
            raise InputError(f"{file.name} must have the column {name!r}. {fix}")
    try:
        if _is_parquet(file):
            return pd.read_parquet(file, columns=list(columns))
        return pd.read_csv(file, usecols=list(columns))
    except (ValueError, OSError) as error:  # the base classes of the parsers' errors
        raise InputError(_unreadable_error(file, error)) from error


def column_names(file: Path) -> list[str]:
    """Return the names of a table's columns; InputError if it is not a parquet or CSV file."""
    import pandas as pd

    if not file.is_file():
        raise InputError(expected("table", "a file that exists", str(file)))
    try:
        if _is_parquet(file):
            parquet = import_optional("pyarrow.parquet", "parquet", "reading parquet")
            return list(parquet.read_schema(file).names)
        return list(pd.read_csv(file, nrows=0).columns)
    except (ValueError, OSError) as error:
        raise InputError(_unreadable_error(file, error)) from error


def _is_parquet(file: Path) -> bool:
    return file.suffix in (".parquet", ".pq")


def _unreadable_error(file: Path, error: Exception) -> str:
    kind = "parquet" if _is_parquet(file) else "CSV"
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    rule = f"a {kind} file"
    got = Phrase(f"another or one cut off ({reason})")
    return expected(str(file), rule, got)
