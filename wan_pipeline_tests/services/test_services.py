"""The servers that the other tests rely on: they are there, they are real where they should be, and they end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import sqlalchemy

from wan_pipeline_tests.services.ceph_rgw import ceph_rgw, why_not
from wan_pipeline_tests.services.s3 import S3Server


def test_each_test_has_a_database_of_its_own(postgres_server) -> None:
    with postgres_server.database() as one, postgres_server.database() as other:
        first, second = sqlalchemy.create_engine(one), sqlalchemy.create_engine(other)
        with first.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE only_here (id int)")
        with second.connect() as connection:
            assert sqlalchemy.inspect(connection).get_table_names() == []
        assert first.dialect.driver == "psycopg2"


def test_a_database_goes_though_somebody_is_still_connected(postgres_server) -> None:
    with postgres_server.database() as url:
        engine = sqlalchemy.create_engine(url)
        connection = engine.connect()
        connection.exec_driver_sql("SELECT 1")
    with pytest.raises(sqlalchemy.exc.OperationalError):
        connection.exec_driver_sql("SELECT 1")
    connection.invalidate()


def test_moto_gives_a_bucket(moto_server: S3Server) -> None:
    name = moto_server.make_bucket()
    moto_server.client().put_object(Bucket=name, Key="a", Body=b"b")
    assert moto_server.client().get_object(Bucket=name, Key="a")["Body"].read() == b"b"


def test_the_gateway_refuses_wrong_keys(rgw_server: S3Server) -> None:
    name = rgw_server.make_bucket()
    wrong = S3Server(rgw_server.endpoint_url, "testkey", "wrong", strict=True)
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        wrong.client().list_objects_v2(Bucket=name)


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_the_gateway_leaves_no_process_and_no_folder() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with ceph_rgw():
        started = [each for each in psutil.Process().children(recursive=True) if each.pid not in before]
        folders = {Path(each.cmdline()[-1]).parent for each in started if each.cmdline()[-1].endswith("ceph.conf")}
        assert len(started) >= 3 and len(folders) == 1
    assert not any(each.is_running() for each in started)
    assert not any(folder.exists() for folder in folders)


_SETTINGS = """
import os
def test_nothing_from_outside():
    found = [name for name in os.environ if name.startswith("WAN_") or name.endswith("_KEY") or name == "DAGSTER_HOME"]
    assert found == []
    os.environ["WAN_HOME"] = "left behind"
def test_nothing_from_the_test_before():
    assert "WAN_HOME" not in os.environ
"""


def test_no_setting_reaches_a_test(tmp_path: Path) -> None:
    """By running pytest with a full environment on a test below a copy of our conftest."""
    tests = tmp_path / "test_inner.py"
    tests.write_text(_SETTINGS)
    root = Path(__file__).parents[2]
    (tmp_path / "conftest.py").write_text((root / "wan_pipeline_tests" / "conftest.py").read_text())
    environment = {
        **os.environ,
        "WAN_MODE": "live",
        "WAVESPEED_API_KEY": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "DAGSTER_HOME": "/nowhere",
        "PYTHONPATH": str(root),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(tests)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
