import pytest

from end_to_end.clients import channel_to
from end_to_end.deployment import Deployment
from end_to_end.memory import FreshRouter, GrowthTable


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    """A router and two stages of two ranks, shared by a file's tests; none of them may break it."""
    with Deployment(tmp_path_factory.mktemp("deployment"), stages=2, tp=2) as running:
        yield running


@pytest.fixture(scope="module")
def channel(deployment):
    with channel_to(deployment) as open_channel:
        yield open_channel


@pytest.fixture(scope="module")
def fresh_router(deployment):
    return FreshRouter(deployment)


@pytest.fixture(scope="module")
def table():
    """What a file's rows took, printed at its end."""
    rows = GrowthTable()
    yield rows
    rows.print()
