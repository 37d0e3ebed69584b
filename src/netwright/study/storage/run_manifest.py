"""What makes a study this study: a run folder goes on only with the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from netwright.errors import RunError, expected, wording
from netwright.files.json_files import from_plain, parse
from netwright.trials.objective import Limit, Objective

_LONG = 120
"""Characters of what differs that are read with ease."""


@dataclass(frozen=True)
class RunManifest:
    """All that replaying the log depends on; `about` is the caller's own, such as the data's hash.

    `notes` are kept and not compared: what a reader of the run wants to know. A note called
    ``data in words`` says what the entry ``data`` of `about` stands for.
    """

    space: str
    seed: int
    strategy: str
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> str:
        """As an object; infinite bounds are left out, since JSON has none."""
        bounds = [
            {name: value for name, value in asdict(limit).items() if _finite(value)}
            for limit in self.limits
        ]
        mappings = {"about": dict(self.about), "notes": dict(self.notes)}
        return json.dumps(asdict(self) | {"limits": bounds} | mappings)

    @classmethod
    def from_json(cls, text: str, what: str = "the study's identity") -> RunManifest:
        """The inverse of `json`; RunError, which names `what`, for anything else."""
        found = from_plain(parse(text, what), cls, what)
        if not found.objectives:
            raise RunError(expected(f"objectives of {what}", "at least one", []))
        return found

    def check_same_study(self, stored: RunManifest, folder: Path) -> None:
        """RunError naming what differs, unless `stored` is the same."""
        differences = list(self._differences(stored))
        if differences:
            raise RunError(
                f"{folder} belongs to another study: {'; '.join(differences)}. {new_run_hint()}"
            )

    def _differences(self, stored: RunManifest) -> Iterator[str]:
        for name in sorted({*self.about, *stored.about}):
            before, now = stored.about.get(name, ""), self.about.get(name, "")
            words = [one.notes.get(f"{name} in words", "") for one in (stored, self)]
            if before != now and all(words):
                same = words[0] == words[1]
                if same and stored.seed != self.seed:
                    continue  # another seed is another split of the same data
                yield f"{name} was {words[0]}, is {'of other values' if same else words[1]}"
            else:
                yield from _changed(name, before, now)
        if stored.space != self.space:
            yield "its search space is a different one"
        else:  # the strategy's candidates follow from the space
            yield from _changed("strategy", stored.strategy, self.strategy)
        yield from _changed("objectives", _words(stored.objectives), _words(self.objectives))
        yield from _changed("limits", _words(stored.limits), _words(self.limits))
        yield from _changed("seed", stored.seed, self.seed)


def new_run_hint() -> str:
    """How to leave a folder that cannot be gone on with."""
    return wording(
        python="Use another folder as run, or delete this one to start anew.",
        shell="Use --run for a new folder, or --fresh to start anew.",
    )


def other_folder_hint() -> str:
    """How to leave a folder that cannot be used at all."""
    return wording(python="Use another folder as run.", shell="Use --run for another folder.")


def resume_hint() -> str:
    """What to do again; the reader has been told what to mend."""
    return wording(python="the same call goes on", shell="the same line goes on")


def _changed(what: str, before: object, now: object) -> Iterator[str]:
    if before != now:
        one, other = (_shown(value) for value in (before, now))
        if max(len(one), len(other)) > _LONG:  # only from where they differ
            alike = (a == b for a, b in zip(one, other, strict=False))
            start = next((i for i, same in enumerate(alike) if not same), min(len(one), len(other)))
            one, other = (_around(text, start) for text in (one, other))
        yield f"{what} was {one}, is {other}"


def _shown(value: object) -> str:
    return "not given" if value == "" else str(value)


def _around(text: str, place: int) -> str:
    first, last = max(0, place - _LONG // 4), place + _LONG // 2
    return "..." * (first > 0) + text[first:last] + "..." * (last < len(text))


def _words(parts: tuple[Objective, ...] | tuple[Limit, ...]) -> str:
    return ", ".join(
        f"{one.direction} {one.metric}" if isinstance(one, Objective) else str(one) for one in parts
    )


def _finite(value: object) -> bool:
    return value not in (float("inf"), float("-inf"))
