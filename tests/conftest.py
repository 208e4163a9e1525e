"""What the tests of several papers share: verdicts, and the verdicts after a change of one constant."""

import sys

import pytest

from hetcnn import papers
from hetcnn.repro import claims, scorecard


def _modules(key):
    prefix = f"hetcnn.papers.{key}"
    return [m for name, m in list(sys.modules.items()) if name == prefix or name.startswith(f"{prefix}.")]


def _forget(key):
    for module in _modules(key):
        for thing in vars(module).values():
            if callable(getattr(thing, "cache_clear", None)):
                thing.cache_clear()


def _verdicts(key):
    results = scorecard.evaluate(claims.load(key), papers.load(key).CLAIMS, key)
    return [f"{r.claim.id}: {r.verdict}" for r in results]


@pytest.fixture(scope="session")
def verdicts():
    """Return the function key -> verdicts of a paper, as lines."""
    return _verdicts


@pytest.fixture
def verdicts_after(monkeypatch):
    """Return the function (key, function, change) -> verdicts when `change` is made to all that `function` returns."""

    def judged(key, original, change):
        _forget(key)
        for module in _modules(key):
            for name, thing in list(vars(module).items()):
                if thing is original:
                    monkeypatch.setattr(module, name, lambda *args, **kwargs: change(original(*args, **kwargs)))
        try:
            return _verdicts(key)
        finally:
            monkeypatch.undo()
            _forget(key)

    return judged
