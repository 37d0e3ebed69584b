"""Check that a file was read, or refused in one sentence that says how to fix it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from foreign.case import Case

LIMIT_S = 60.0


@dataclass(frozen=True)
class Ended:
    """An ended process; `why`: the reason if it was killed."""

    exit_code: int
    seconds: float
    peak_mb: int
    out: str
    err: str
    why: str = ""


def fault(case: Case, data: str, ended: Ended) -> str:
    """Return what is wrong with how the file was handled; empty if nothing is."""
    if ended.why:
        return {"hang": f"more than {LIMIT_S:g} s", "memory": "too much memory"}[ended.why]
    said = ended.out + ended.err
    if "Traceback" in said:
        return "a traceback"
    if "\x1b" in said or "\x07" in said:
        return "a byte that a terminal obeys"
    if ended.exit_code == 0:
        if case.expects == "refused":
            return "read, though it cannot be"
        return "" if case.shows in ended.out else f"read, but not as {case.shows}"
    if ended.exit_code != 2:
        return f"exit code {ended.exit_code}"
    if case.expects == "read":
        return "refused, though it can be read"
    return bad_sentence(ended.err, case.named or Path(data).name)


def bad_sentence(text: str, named: str) -> str:
    """Return what is wrong with a refusal, which must be one line with the file and a fix."""
    if len(text.strip().splitlines()) != 1:
        return f"{len(text.strip().splitlines())} lines instead of one"
    if named not in text:
        return f"{named} is not named"
    if not re.search(r"[.?] \S", text.strip()):
        return "no way out"
    return ""
