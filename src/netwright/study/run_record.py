"""What a run notes of itself, beside its trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from netwright.study.progress.events import short_name
from netwright.trials.trial import Trial


@dataclass(frozen=True)
class RunRecord:
    """What is kept with a run, and how its trials are described.

    Args:
        about: what the study is of, such as its data, name -> text: a folder that notes something
            else is refused.
        notes: kept, and not compared.
        describe: a few words on a trial, for progress lines and callbacks.
    """

    fingerprint: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    describe: Callable[[Trial], str] = short_name
