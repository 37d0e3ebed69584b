"""Make a virtual environment for each system, since their requirements conflict.

    python benchmarks/tables/environments.py FOLDER [NAME ...]

Without names: all of them, some 11 GB. Complete environments are kept; one whose installation did
not finish is made again. `FOLDER/NAME.txt` lists the installed versions.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TORCH = "torch==2.13.0"
PARQUET_READER = "pyarrow>=18"
"""Tables are parquet files, so that every system reads the same types."""


@dataclass(frozen=True)
class Environment:
    """The packages that pip installs; `torch` separately and first, or pip may fetch CUDA (GBs)."""

    packages: tuple[str, ...]
    torch: bool = False


ENVIRONMENTS = {
    "netwright": Environment(
        ("--constraint", str(ROOT / "constraints.txt"), "--editable", f"{ROOT}[parquet,boost]"),
        torch=True,
    ),
    "sklearn": Environment(("scikit-learn==1.9.1", "lightgbm==4.7.0", "pandas>=2.2")),
    "flaml": Environment(("flaml[automl]==2.7.0",)),
    "autogluon": Environment(
        ("autogluon.tabular[lightgbm,catboost,xgboost,fastai]==1.6.3",), torch=True
    ),
    "lightautoml": Environment(("lightautoml==0.4.2",), torch=True),
    "mljar": Environment(("mljar-supervised==1.3.2",)),
    "pytabkit": Environment(("pytabkit[models]==1.7.3",), torch=True),
}


def python_of(folder: Path, name: str) -> Path:
    """Return the interpreter of an environment."""
    bin_, file = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
    return folder.absolute() / name / bin_ / file


def is_made(folder: Path, name: str) -> bool:
    """Return whether its installation finished: the list of versions is written last."""
    return (folder / f"{name}.txt").exists() and python_of(folder, name).exists()


def make(folder: Path, name: str) -> None:
    """Make a fresh environment with the system in it.

    Raises:
        CalledProcessError: pip failed.
    """
    environment = ENVIRONMENTS[name]
    environment_folder = folder.absolute() / name
    shutil.rmtree(environment_folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", environment_folder], check=True)
    pip = [python_of(folder, name), "-m", "pip"]
    install = [*pip, "install", "--quiet", "--no-cache-dir"]
    torch = (TORCH,) if environment.torch else ()
    if torch:
        subprocess.run([*install, *torch], check=True)
    subprocess.run([*install, *torch, *environment.packages, PARQUET_READER], check=True)
    frozen = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True)
    (folder / f"{name}.txt").write_text(frozen.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=[*ENVIRONMENTS], metavar="NAME")
    options = parser.parse_args()
    if unknown := set(options.names) - ENVIRONMENTS.keys():
        parser.error(f"no environment {sorted(unknown)}; there are {', '.join(ENVIRONMENTS)}")
    options.folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in options.names:
        if is_made(options.folder, name):
            print(f"{name}: already installed", flush=True)
            continue
        print(f"{name}: installing", flush=True)
        try:
            make(options.folder, name)
        except subprocess.CalledProcessError as error:
            failed.append(name)
            print(f"{name}: {error}", file=sys.stderr, flush=True)
    sys.exit(f"not installed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
