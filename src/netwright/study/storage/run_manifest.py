"""The settings that identify a study: a run folder is resumed only with the same ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from netwright.errors import RunError, expected, wording
from netwright.files.json_files import from_plain, parse
from netwright.trials.objective import Limit, Objective

_MAX_SHOWN_LENGTH = 120
"""Characters of a setting that an error shows in full; of longer ones only the first difference."""


@dataclass(frozen=True)
class RunManifest:
    """The settings on which replaying the log depends.

    Args:
        space: fingerprint of the search space.
        seed: of the study.
        strategy: its name and settings.
        objectives: metrics to optimise.
        limits: bounds on metrics.
        about: further fingerprints, name -> text, such as the data's hash.
        notes: texts for readers of the run; kept, not compared. A note called ``data in words``
            describes the entry ``data`` of `about` in errors.
    """

    space: str
    seed: int
    strategy: str
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> str:
        """Return a JSON object; infinite bounds are left out, since JSON has none."""
        bounds = [
            {name: bound for name, bound in asdict(limit).items() if _is_finite(bound)}
            for limit in self.limits
        ]
        mappings = {"about": dict(self.about), "notes": dict(self.notes)}
        return json.dumps(asdict(self) | {"limits": bounds} | mappings)

    @classmethod
    def from_json(cls, text: str, what: str = "the study's identity") -> RunManifest:
        """Parse the output of `json`.

        Raises:
            RunError: the text is something else; the error names it as `what`.
        """
        manifest = from_plain(parse(text, what), cls, what)
        if not manifest.objectives:
            raise RunError(expected(f"objectives of {what}", "at least one", []))
        return manifest

    def check_same_study(self, stored: RunManifest, folder: Path) -> None:
        """Raise RunError, which lists the differences, unless `stored` is of the same study."""
        differences = list(self._differences(stored))
        if differences:
            raise RunError(
                f"{folder} belongs to another study: {'; '.join(differences)}. {new_run_hint()}"
            )

    def _differences(self, stored: RunManifest) -> Iterator[str]:
        for name in sorted({*self.about, *stored.about}):
            before, now = stored.about.get(name, ""), self.about.get(name, "")
            before_in_words = stored.notes.get(f"{name} in words", "")
            now_in_words = self.notes.get(f"{name} in words", "")
            if before != now and before_in_words and now_in_words:
                look_alike = before_in_words == now_in_words
                if look_alike and stored.seed != self.seed:
                    continue  # another seed is another split of the same data
                now_in_words = "of other values" if look_alike else now_in_words
                yield f"{name} was {before_in_words}, is {now_in_words}"
            else:
                yield from _describe_change(name, before, now)
        if stored.space != self.space:
            yield "its search space is a different one"
        else:  # the strategy's candidates follow from the space
            yield from _describe_change("strategy", stored.strategy, self.strategy)
        yield from _describe_change(
            "objectives", _format_goals(stored.objectives), _format_goals(self.objectives)
        )
        yield from _describe_change(
            "limits", _format_goals(stored.limits), _format_goals(self.limits)
        )
        yield from _describe_change("seed", stored.seed, self.seed)


def new_run_hint() -> str:
    """Return the advice for a folder that cannot be resumed."""
    return wording(
        python="Use another folder as run, or delete this one to start over.",
        shell="Use --run for a new folder, or --fresh to start over.",
    )


def other_folder_hint() -> str:
    """Return the advice for a folder that cannot be used at all."""
    return wording(python="Use another folder as run.", shell="Use --run for another folder.")


def resume_hint() -> str:
    """Return the advice, without a capital or full stop, for resuming once the cause is fixed."""
    return wording(
        python="make the same call again to resume", shell="run the same command again to resume"
    )


def _describe_change(what: str, before: object, now: object) -> Iterator[str]:
    if before != now:
        old, new = _format_setting(before), _format_setting(now)
        if max(len(old), len(new)) > _MAX_SHOWN_LENGTH:  # only from where they differ
            are_equal = (a == b for a, b in zip(old, new, strict=False))
            start = next(
                (i for i, is_equal in enumerate(are_equal) if not is_equal),
                min(len(old), len(new)),
            )
            old, new = _excerpt(old, start), _excerpt(new, start)
        yield f"{what} was {old}, is {new}"


def _format_setting(setting: object) -> str:
    return "not given" if setting == "" else str(setting)


def _excerpt(text: str, position: int) -> str:
    """Cut out the text around a position, with dots for what is cut off."""
    start, stop = max(0, position - _MAX_SHOWN_LENGTH // 4), position + _MAX_SHOWN_LENGTH // 2
    before = "..." if start > 0 else ""
    after = "..." if stop < len(text) else ""
    return before + text[start:stop] + after


def _format_goals(goals: tuple[Objective, ...] | tuple[Limit, ...]) -> str:
    return ", ".join(
        f"{goal.direction} {goal.metric}" if isinstance(goal, Objective) else str(goal)
        for goal in goals
    )


def _is_finite(bound: object) -> bool:
    return bound not in (float("inf"), float("-inf"))
