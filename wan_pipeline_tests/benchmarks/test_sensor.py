"""The benchmark of the sensor finds what it puts into the bucket, in each of its phases."""

from __future__ import annotations

import pytest

from benchmarks.sensor import measured
from wan_pipeline_tests.services import ceph_rgw

pytestmark = pytest.mark.skipif(ceph_rgw.why_not() is not None, reason="needs Ceph's RADOS Gateway")


@pytest.mark.long
def test_every_phase_finds_what_is_there_and_has_its_figures() -> None:
    printed, wrong = measured(2_050, 30, rounds=1)
    assert wrong == []
    lines = printed.splitlines()[2:]
    assert len(lines) == 11
    assert all(line.split() for line in lines)
