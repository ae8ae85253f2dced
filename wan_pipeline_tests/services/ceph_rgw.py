"""A real S3 server: Ceph's RADOS Gateway over one monitor and one object store in memory, all on loopback.

Needs Debian's ceph-mon, ceph-osd, radosgw and ceph-common; nothing here installs anything.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from wan_pipeline_tests.services.s3 import S3Server

_PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_PATIENCE_S = 60.0
_PDEATHSIG = 1  # prctl's PR_SET_PDEATHSIG

_CONF = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file = {folder}/$name.log
keyring = {folder}/keyring
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {store_bytes}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
osd max object name len = 2048
mon allow pool size one = true
mon max pg per osd = 1000
paxos propose interval = 0.02
paxos min wait = 0.01
auth allow insecure global id reclaim = false
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw dns name = localhost
rgw thread pool size = 32
"""


def why_not() -> str | None:
    """Why it cannot be started here; None where it can."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    return f"Ceph's RADOS Gateway is not installed (no {', '.join(missing)})" if missing else None


@contextmanager
def ceph_rgw(store_bytes: int = 2 << 30) -> Iterator[S3Server]:
    """Starts it, in about two seconds, and stops it: gateway, store, monitor (a store without its monitor never ends).

    It may take so much of this machine's memory for what is stored.
    """
    with ExitStack() as stack:
        # the sockets' paths have to be short, so not below pytest's own folders
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wan-rgw-", ignore_cleanup_errors=True)))
        for name in ("mon", "osd", "run"):
            (folder / name).mkdir()
        port, mon_port = _free_ports(2)
        conf = folder / "ceph.conf"
        conf.write_text(
            _CONF.format(
                fsid=(fsid := uuid.uuid4()), folder=folder, port=port, mon_port=mon_port, store_bytes=store_bytes
            )
        )
        keyring, monmap = str(folder / "keyring"), str(folder / "monmap")

        def keys(name: str, *arguments: str) -> None:
            _run("ceph-authtool", keyring, "-n", name, *arguments)

        _run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        keys(
            "client.admin", "--gen-key", "--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"
        )
        keys("client.rgw", "--gen-key", "--cap", "mon", "allow rw", "--cap", "osd", "allow rwx")
        _run("monmaptool", "--create", "--fsid", str(fsid), "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", monmap)
        _run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring, "-c", str(conf))
        stack.enter_context(_daemon(folder, "mon", ["ceph-mon", "-f", "-i", "a", "-c", str(conf)]))

        secret = _run("ceph-authtool", "--gen-print-key").strip()
        osd_uuid = str(uuid.uuid4())
        told = json.dumps({"cephx_secret": secret})
        osd = _run("ceph", "-c", str(conf), "osd", "new", osd_uuid, "-i", "-", given=told).strip()
        keys(f"osd.{osd}", "--add-key", secret)
        _run("ceph-osd", "-i", osd, "-c", str(conf), "--mkfs", "--osd-uuid", osd_uuid)
        stack.enter_context(_daemon(folder, "osd", ["ceph-osd", "-f", "-i", osd, "-c", str(conf)]))
        gateway = stack.enter_context(ExitStack())

        def start() -> None:
            command = ["radosgw", "-f", "-n", "client.rgw", "-c", str(conf)]
            process = gateway.enter_context(_daemon(folder, "rgw", command))
            _wait_for(f"http://127.0.0.1:{port}/", process, folder / "rgw.out")

        start()
        for name in ("test", "guest"):
            keys_of = (f"--access-key={name}key", f"--secret-key={name}secret")
            _run(
                "radosgw-admin", "-c", str(conf), "user", "create", f"--uid={name}", f"--display-name={name}", *keys_of
            )
        guest = ("guestkey", "guestsecret")
        yield S3Server(
            f"http://127.0.0.1:{port}",
            "testkey",
            "testsecret",
            strict=True,
            guest=guest,
            stop=gateway.close,  # the gateway alone: the store behind it lives on
            start=start,
        )


def _run(*command: str, given: str | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=_PATIENCE_S)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def _daemon(folder: Path, name: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """In the foreground, so that its process id is known for sure; it ends with this process, however that ends."""
    libc = ctypes.CDLL(None)

    def end_with_parent() -> None:
        libc.prctl(_PDEATHSIG, signal.SIGKILL)

    with (folder / f"{name}.out").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=end_with_parent)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while time.monotonic() < give_up:
        if process.poll() is not None:
            break
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"radosgw does not answer: {output.read_text(errors='replace')[-2000:]}")


def _free_ports(count: int) -> list[int]:
    """Held all at once, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
