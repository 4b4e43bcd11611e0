"""The tree of errors, as its own documentation draws it."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from cloudoffload import errors


def drawn_tree() -> dict[str, str | None]:
    """Name of each error in the docstring's drawing, with the name of its parent."""
    tree: dict[str, str | None] = {}
    branch: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        match = re.fullmatch(r" {4}((?:│   |    )*(?:├── |└── )?)([A-Z]\w+)(?: {2,}\S.*)?", line)
        if match:
            del branch[len(match[1]) // 4 :]
            tree[match[2]] = branch[-1] if branch else None
            branch.append(match[2])
    return tree


def real_tree() -> dict[str, str | None]:
    """Name of each error class, with the name of the error that it derives from."""
    classes = [item for item in vars(errors).values() if inspect.isclass(item)]
    family = [item for item in classes if issubclass(item, errors.CloudoffloadError)]
    return {item.__name__: next((base.__name__ for base in item.__bases__ if base in family), None) for item in family}


def test_the_drawing_is_the_class_hierarchy() -> None:
    """Whoever reads the first screen of the module knows every error and what it derives from."""
    assert drawn_tree() == real_tree()


def test_a_caller_can_catch_a_bad_setting_as_value_error() -> None:
    """Code that knows nothing of this package treats a bad setting like any bad value."""
    assert issubclass(errors.SettingsError, ValueError)


@pytest.mark.parametrize(
    ("kind", "retryable", "billed"),
    [
        (errors.Throttled, True, False),
        (errors.TimedOut, True, True),
        (errors.PayloadTooLarge, False, False),
        (errors.OutOfMemory, True, True),
        (errors.ProviderDown, True, False),
        (errors.Unauthorized, False, False),
    ],
)
def test_trouble_of_a_cloud_says_whether_to_retry_and_whether_it_cost(
    kind: type[errors.ProviderError], retryable: bool, billed: bool
) -> None:
    """Each kind has its usual answer, and a provider that knows better can say so for one error alone."""
    usual = kind("trouble")
    assert (usual.retryable, usual.billed) == (retryable, billed)
    known = kind("trouble", retryable=not retryable, billed=not billed)
    assert (known.retryable, known.billed) == (not retryable, not billed)
    assert (kind.retryable, kind.billed) == (retryable, billed)


@pytest.mark.parametrize("name", sorted(real_tree()))
def test_errors_cross_processes(name: str) -> None:
    """Any error keeps its type and message when it is pickled, as concurrent.futures does."""
    error = getattr(errors, name)("what happened")
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is type(error)
    assert str(copied) == "what happened"


def test_what_an_error_knows_crosses_processes_too() -> None:
    """The answers about retry and cost, and the remote type's name, survive pickling."""
    lost = pickle.loads(pickle.dumps(errors.ProviderDown("gone", retryable=False, billed=True)))
    assert (lost.retryable, lost.billed) == (False, True)
    remote = pickle.loads(pickle.dumps(errors.RemoteError("boom", type_name="zoo.Escape")))
    assert remote.type_name == "zoo.Escape"


def test_a_rebuilt_exception_shows_the_workers_traceback() -> None:
    """The remote traceback is printed below the client's own, set apart by an empty line."""
    assert str(errors.RemoteTraceback("Traceback: line 3")) == "\n\nTraceback: line 3"
    assert str(errors.RemoteTraceback()) == ""
