import functools

import pytest
import requests

from end_to_end.deployment import Deployment


@pytest.fixture(scope="session")
def deployment(tmp_path_factory):
    """A router and two stages of two ranks, as deploy/local.sh starts them; shared by all conformance tests."""
    # With fp32 activations log-probabilities are transformers' own, which the tests compare with.
    with Deployment(tmp_path_factory.mktemp("conformance"), stages=2, tp=2, worker_flags=("--activations", "fp32")) as running:
        yield running


@pytest.fixture(scope="session")
def http():
    """Plain HTTP with a deadline for every request."""
    with requests.Session() as session:
        session.request = functools.partial(session.request, timeout=60)
        yield session
