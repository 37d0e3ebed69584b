"""The public surface is a list, made from the catalog: a name that comes or goes shows up there."""

import subprocess
import sys

import netwright


def test_every_public_name_can_be_had() -> None:
    for name in netwright.__all__:
        assert getattr(netwright, name) is not None


def imported(code: str) -> set[str]:
    """The top-level modules that are loaded after running `code` in a fresh interpreter."""
    text = f"import sys\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return set(found.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy() -> None:
    code = (
        "from netwright.cli.app import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code"
    )
    heavy = {"torch", "pandas", "sklearn", "onnx", "onnxruntime", "sqlalchemy", "numpy"}
    assert not imported(code) & heavy


def test_importing_netwright_loads_nothing_heavy() -> None:
    heavy = {"torch", "pandas", "sklearn", "onnx", "onnxruntime", "sqlalchemy", "numpy"}
    assert not imported("import netwright") & heavy


def test_loading_a_model_needs_numpy_and_onnxruntime_alone() -> None:
    heavy = {"torch", "pandas", "sklearn", "onnx", "sqlalchemy", "PIL", "rich", "typer"}
    assert not imported("import netwright\nnetwright.load") & heavy
