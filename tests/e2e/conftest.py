"""What the end-to-end tests share."""

import os

import pytest

import hub as client


@pytest.fixture(scope="session")
def hub():
    """The stack that `run` deployed."""
    return client.Hub(os.environ["E2E_STACK"])
