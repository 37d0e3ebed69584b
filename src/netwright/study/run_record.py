"""Metadata that a study keeps with its run, beside the trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from netwright.study.progress.events import short_name
from netwright.trials.trial import Trial


@dataclass(frozen=True)
class RunRecord:
    """Metadata kept with a run, and how its trials are named.

    Args:
        fingerprint: name -> text, such as a hash of the data. A folder that was written with other
            entries is refused.
        notes: name -> text for readers of the run; kept, not compared.
        describe: returns a trial's name, a few words, for progress lines and callbacks. By default
            its family of models, or its first decisions.

    Example:
        >>> record = RunRecord(fingerprint={"data": digest}, notes={"source": "sensors.csv"})
        >>> Study(space, evaluator, objectives="accuracy", run="runs/a", record=record)
    """

    fingerprint: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    describe: Callable[[Trial], str] = short_name
