"""A bucket that is a folder: objects are its regular files.

A file is published by fsync and rename, so that a reader sees the old one or the whole new one, also after a power cut.
Symlinks are followed only to files inside the folder, and linked folders never: what lies outside is not in the bucket.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import stat
import time
import uuid
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from wan_pipeline.bucket.base import (
    TEMPORARY_FOLDER,
    BucketError,
    BucketObject,
    check_range,
    not_found,
    public_url,
    require_portable,
    why_not_portable,
)
from wan_pipeline.bucket.folder_writing import FileWriter

_STALE_AFTER_S = 60  # younger temporary files may be between their creation and their lock
_LAST = chr(0x10FFFF)  # comes behind every character of a key
_MISSING = (FileNotFoundError, NotADirectoryError)
Keyed = list[tuple[str, os.DirEntry[str]]]
_log = logging.getLogger(__name__)


class FolderBucket:
    """See `Bucket`. A folder that does not exist is an empty bucket, made by the first write; `check` says it is missing."""

    def __init__(self, folder: Path, public_base_url: str | None = None) -> None:
        self._folder = folder.absolute()
        self._public_base_url = public_base_url
        self._swept = False
        self._left_out: set[str] = set()

    @property
    def url(self) -> str:
        return str(self._folder)

    def __repr__(self) -> str:
        return f"FolderBucket({self.url!r})"

    # --- reading ---

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[BucketObject]:
        """See `Bucket`. `start_after`: only what comes behind this key."""
        root = self._root()
        folder_key = prefix.rpartition("/")[0]
        if folder_key and (why_not_portable(folder_key) or not _is_plain(root, folder_key)):
            return
        pending = [iter(self._entries(root, folder_key))]
        while pending:
            found = next(pending[-1], None)
            if found is None:
                pending.pop()
                continue
            key, entry = found
            if key.endswith("/"):
                if (key.startswith(prefix) or prefix.startswith(key)) and key + _LAST > start_after:
                    pending.append(iter(self._entries(root, key.removesuffix("/"))))
            elif key.startswith(prefix) and key > start_after:
                shown = self._object(root, key, entry.path)
                if shown is not None:
                    yield shown

    def many_siblings(self, prefixes: Collection[str]) -> Iterator[BucketObject]:
        """The objects whose keys begin with one of these and have no further "/" behind it, each once. Each folder is read
        once, however many of the beginnings lie in it."""
        root = self._root()
        by_folder: dict[str, set[str]] = {}
        for prefix in prefixes:
            folder_key, _, name = prefix.rpartition("/")
            by_folder.setdefault(folder_key, set()).add(name)
        for folder_key, names in by_folder.items():
            if folder_key and (why_not_portable(folder_key) or not _is_plain(root, folder_key)):
                continue
            for key, entry in self._entries(root, folder_key, tuple(names)):
                shown = None if key.endswith("/") else self._object(root, key, entry.path)
                if shown is not None:
                    yield shown

    def stat(self, key: str) -> BucketObject:
        root = self._root()
        path = self._readable_path(root, key)
        shown = None if path is None else self._object(root, key, path)
        if shown is None:
            raise not_found(key, self.url)
        return shown

    def exists(self, key: str) -> bool:
        root = self._root()
        path = self._readable_path(root, key)
        return path is not None and self._object(root, key, path) is not None

    def path(self, key: str) -> Path:
        """The object's file, links resolved. Raises ObjectNotFoundError."""
        self.stat(key)
        return Path(os.path.realpath(Path(self._root(), key)))

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        check_range(start, length)
        with self.open(key) as stream:
            stream.seek(start)
            return stream.read(-1 if length is None else length)

    def open(self, key: str) -> BinaryIO:
        path = self.path(key)
        try:
            return path.open("rb")
        except _MISSING:
            raise not_found(key, self.url) from None
        except OSError as error:
            raise self._error(error, "cannot be read", key) from error

    # --- writing ---

    @contextmanager
    def writer(self, key: str, content_type: str) -> Generator[FileWriter]:
        """See `Bucket.writer`. A folder keeps no content type; whoever serves it tells by the name's ending."""
        del content_type
        require_portable(key, self.url)
        root = self._root()
        try:
            target = _make_parents(root, key)
            temporary, stream = self._temporary(root)
        except OSError as error:
            raise self._error(error, "cannot be written", key) from error
        try:
            yield FileWriter(stream, temporary, lambda error, what: self._error(error, what, key))
            try:
                stream.flush()
                os.fsync(stream.fileno())
                temporary.replace(target)
                _fsync_folder(target.parent)
            except OSError as error:
                raise self._error(error, "cannot be written", key) from error
        finally:
            try:
                temporary.unlink(missing_ok=True)  # it is gone already where it was published
            finally:
                with suppress(OSError):  # a full disk: flush fails again here, and was told above
                    stream.close()

    def write(self, key: str, data: bytes, content_type: str) -> BucketObject:
        with self.writer(key, content_type) as writer:
            writer.write(data)
        return self.stat(key)

    def copy(self, source_key: str, target_key: str) -> None:
        require_portable(target_key, self.url)
        with self.open(source_key) as source:
            if source_key == target_key:
                return
            with self.writer(target_key, "") as target:
                shutil.copyfileobj(source, target, 1 << 20)

    # --- addresses ---

    def uri(self, key: str) -> str:
        return Path(self._root(), key).as_uri()

    def fetch_url(self, key: str, expires_s: int) -> str | None:
        return public_url(self._public_base_url, key) if self._public_base_url else None

    def check(self) -> None:
        root = self._root()
        if not root.is_dir():
            what = "is no folder" if root.exists() else "does not exist"
            raise BucketError(
                f"the bucket's folder {self.url} {what}. Make it (mkdir -p), or correct the setting WAN_BUCKET_URL."
            )
        try:
            next(self.list(), None)
            self._sweep(root)
            temporary, stream = self._temporary(root)
            with stream:
                try:
                    stream.write(b"check")
                    stream.flush()
                    os.fsync(stream.fileno())
                finally:
                    temporary.unlink()
        except OSError as error:
            raise self._error(error, "cannot be read and written", "") from error

    # --- within ---

    def _root(self) -> Path:
        return Path(os.path.realpath(self._folder))

    def _entries(
        self, root: Path, folder_key: str, beginnings: tuple[str, ...] = ("",)
    ) -> Sequence[tuple[str, os.DirEntry[str]]]:
        """What is directly in a folder and begins like one of these, as (key, entry), folders' keys with a "/" behind, in
        the order of the bytes.

        With the "/" the order is that of all the keys below: `a-b` < `a/x` < `a0`.
        """
        before = f"{folder_key}/" if folder_key else ""
        found: Keyed = []
        try:
            with os.scandir(root / folder_key) as entries:
                for entry in entries:
                    name = entry.name
                    if not name.startswith(beginnings):
                        continue
                    reason = why_not_portable(before + name)
                    if reason is not None:
                        self._leave_out(before + name, reason)
                        continue
                    ending = "/" if entry.is_dir(follow_symlinks=False) else ""
                    found.append((before + name + ending, entry))
        except _MISSING:
            return []  # gone since its parent was read
        except OSError as error:
            raise self._error(error, "cannot be listed", folder_key) from error
        found.sort(key=lambda item: item[0])  # by code points, which is the order of the UTF-8 bytes
        return found

    def _leave_out(self, key: str, reason: str) -> None:
        if key != TEMPORARY_FOLDER and key not in self._left_out:  # each is told once
            self._left_out.add(key)
            _log.warning("%s: %s is left out of the listing: %s. Rename it.", self.url, ascii(key), reason)

    def _readable_path(self, root: Path, key: str) -> str | None:
        if why_not_portable(key) is not None:
            return None
        parent = key.rpartition("/")[0]
        if parent and not _is_plain(root, parent):
            return None
        return str(root / key)

    def _object(self, root: Path, key: str, path: str) -> BucketObject | None:
        """None where there is no regular file, or a link that leads out of the folder."""
        try:
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                real = Path(os.path.realpath(path))
                if not real.is_relative_to(root) or real.is_relative_to(root / TEMPORARY_FOLDER):
                    return None
                info = real.stat()
        except _MISSING:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):  # links in a circle; a name no file can have
                return None
            raise self._error(error, "cannot be looked at", key) from error
        if not stat.S_ISREG(info.st_mode):
            return None
        moment = datetime.fromtimestamp(info.st_mtime_ns // 1000 / 1_000_000, UTC)
        return BucketObject(key, info.st_size, moment, f"{info.st_mtime_ns}-{info.st_size}")

    def _temporary(self, root: Path) -> tuple[Path, BinaryIO]:
        """A new hidden file, locked while it is being written: whoever finds it unlocked knows its writer is gone."""
        folder = root / TEMPORARY_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            self._swept = True
            self._sweep(root)
        path = folder / f"{uuid.uuid4().hex}.part"
        stream = path.open("xb")
        with suppress(OSError):  # a file system without locks: there the sweeper gets none either, and leaves all alone
            fcntl.flock(stream, fcntl.LOCK_SH)
        return path, stream

    def _sweep(self, root: Path) -> None:
        """Removes what writers left that were killed."""
        for path in (root / TEMPORARY_FOLDER).glob("*.part"):
            with suppress(OSError):  # just published or removed; its writer is at work; no locks; somebody else's
                if time.time() - path.stat().st_mtime < _STALE_AFTER_S:
                    continue
                with path.open("rb") as stream:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()

    def _error(self, error: OSError, what: str, key: str) -> BucketError:
        name = f"{key!r} " if key else ""
        if isinstance(error, _LinkedFolderError):
            remedy = "Links to folders are not followed: put a folder in its place."
        elif isinstance(error, PermissionError):
            remedy = "Give this user the right to read and write there."
        elif isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
            remedy = "A folder and a file cannot have one name: choose another."
        else:
            remedy = "See to the disk, then run it again."
        return BucketError(f"{self.url}: {name}{what}: {error.strerror or error}. {remedy}")


class _LinkedFolderError(OSError):
    pass


def _is_plain(root: Path, folder_key: str) -> bool:
    """Is no part of this path below the root a symlink?"""
    path = root / folder_key
    return os.path.realpath(path) == str(path)


def _make_parents(root: Path, key: str) -> Path:
    """The path to publish at. Its folders are made, and made to last: each new one's parent is synced."""
    parent = key.rpartition("/")[0]
    if parent and not _is_plain(root, parent):
        raise _LinkedFolderError(errno.EPERM, "a folder above it is a symbolic link")
    target = root / key
    missing: list[Path] = []
    folder = target.parent
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _fsync_folder(new.parent)
    if target.is_dir() and not target.is_symlink():
        raise IsADirectoryError(errno.EISDIR, "there is a folder of that name")
    return target


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
