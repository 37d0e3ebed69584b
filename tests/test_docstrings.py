"""Public functions, classes and methods say what they take and what they return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import pytest

import netwright as nw


def public_callables() -> Iterator[tuple[str, Callable[..., object]]]:
    """Every public function, and every public method that no base class documents."""
    for name in nw.__all__:
        public = getattr(nw, name)
        if inspect.isfunction(public):
            yield name, public
        if not inspect.isclass(public):
            continue
        for method_name, member in vars(public).items():
            method = getattr(member, "__func__", member)
            if method_name.startswith("_") or not inspect.isfunction(method):
                continue
            if method_name in getattr(public, "__dataclass_fields__", {}):
                continue  # the default of a field
            inherited = (vars(base).get(method_name) for base in public.__mro__[1:])
            documented = any(inspect.getdoc(one) for one in inherited if one is not None)
            implements = (inspect.getdoc(method) or "").startswith("As `")  # names the contract
            if not (documented or implements):
                yield f"{name}.{method_name}", method


def public_classes() -> Iterator[tuple[str, type]]:
    for name in nw.__all__:
        if inspect.isclass(getattr(nw, name)):
            yield name, getattr(nw, name)


def parameters(function: Callable[..., object]) -> list[str]:
    return [
        name
        for name in inspect.signature(function).parameters
        if name not in {"self", "cls"} and not name.startswith("_")
    ]


@pytest.mark.parametrize(("name", "function"), list(public_callables()))
def test_public_functions_document_parameters_and_result(
    name: str, function: Callable[..., object]
) -> None:
    text = inspect.getdoc(function) or ""
    arguments = text.partition("Args:")[2]
    missing = [parameter for parameter in parameters(function) if parameter not in arguments]
    assert not missing, f"{name} does not document {missing}"
    returns = inspect.signature(function).return_annotation
    if returns not in {None, "None", inspect.Signature.empty}:
        says = ("Returns:", "Yields:")
        assert text.startswith(("Return ", "Yield ", "Iterate ")) or any(s in text for s in says), (
            name
        )


@pytest.mark.parametrize(("name", "cls"), list(public_classes()))
def test_public_classes_document_their_settings(name: str, cls: type) -> None:
    text = (vars(cls).get("__doc__") or "") + (inspect.getdoc(vars(cls).get("__init__")) or "")
    assert text.strip(), name
    own_init = vars(cls).get("__init__")
    if own_init is None or issubclass(cls, Exception) or getattr(cls, "_is_protocol", False):
        return
    arguments = text.partition("Args:")[2] + text.partition("Attributes:")[2]
    missing = [setting for setting in parameters(own_init) if setting not in arguments]
    assert not missing, f"{name} does not document {missing}"
