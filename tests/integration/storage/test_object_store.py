"""The object store's promises, the same on a folder and on S3 (moto's server)."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pim_platform.errors import InvalidRequest, Misconfigured, NotFound
from pim_platform.settings import Settings
from pim_platform.storage.object_store import ObjectStore, clear_folder, spool
from tests.integration.storage.s3 import s3_settings


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, s3_endpoint: str) -> Iterator[ObjectStore]:
    if request.param == "folder":
        yield ObjectStore.of(Settings(home=tmp_path, object_store_url=(tmp_path / "a folder").as_uri()))
    else:
        yield ObjectStore.of(Settings(home=tmp_path, **s3_settings(s3_endpoint)))


def test_bytes_come_back_as_they_went_in(store: ObjectStore) -> None:
    for content in (b"", b"\x00\xff" * 10, "ü".encode()):
        store.put_bytes("tenants/t/a.bin", content)
        assert store.read_bytes("tenants/t/a.bin") == content


def test_a_file_of_several_parts_comes_back_whole(store: ObjectStore, tmp_path: Path) -> None:
    content = bytes(range(256)) * 50_000  # 12.8 MB: more than one chunk of a stream and one part of an upload
    path = tmp_path / "large"
    path.write_bytes(content)
    store.put_file("large", path)
    with store.local_copy("large") as copy:
        assert hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(content).digest()


def test_a_file_that_is_given_up_stays_when_its_own_name_goes(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "part"
    for content in (b"first", b"second"):
        path.write_bytes(content)
        store.put_file("a/b/part", path, given_up=True)
        path.unlink()
        assert store.read_bytes("a/b/part") == content
    assert [found.key for found in store.list("a")] == ["a/b/part"]


def test_putting_again_replaces(store: ObjectStore) -> None:
    store.put_bytes("k", b"a long first version")
    store.put_bytes("k", b"short")
    assert store.read_bytes("k") == b"short"


def test_an_object_exists_from_put_to_delete(store: ObjectStore) -> None:
    assert not store.exists("k")
    store.put_bytes("k", b"x")
    assert store.exists("k")
    store.delete("k")
    assert not store.exists("k")
    store.delete("k")  # once more is fine


def test_reading_what_is_not_there_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(NotFound, match="no/such"):
        store.read_bytes("no/such")
    with pytest.raises(NotFound, match="no/such"), store.local_copy("no/such"):
        pytest.fail("there is nothing to copy")
    with pytest.raises(NotFound, match="no/such"), store.local_copy("no/such", suffix=".csv"):
        pytest.fail("there is nothing to copy")


def test_a_listing_holds_what_is_below_the_prefix_with_size_and_time(store: ObjectStore) -> None:
    for key in ("jobs/1/a", "jobs/1/b/c", "jobs/10/a", "other"):
        store.put_bytes(key, key.encode())
    found = {entry.key: entry for entry in store.list("jobs/1/")}
    assert set(found) == {"jobs/1/a", "jobs/1/b/c"}
    assert found["jobs/1/b/c"].size == len("jobs/1/b/c")
    assert abs(found["jobs/1/a"].modified - datetime.now(UTC)) < timedelta(minutes=5)
    assert list(store.list("nothing/")) == []


def test_names_that_people_choose_in_the_inbox_survive(store: ObjectStore) -> None:
    key = "inbox/acme/feed/Preisliste März (2) 50%.csv"
    store.put_bytes(key, b"x")
    (entry,) = store.list("inbox/acme")
    assert entry.key == key
    with store.local_copy(entry.key) as path:
        assert path.read_bytes() == b"x"
    store.delete(entry.key)
    assert list(store.list("inbox/acme")) == []


def test_a_local_copy_has_the_asked_suffix_and_a_temporary_one_is_gone_afterwards(store: ObjectStore) -> None:
    store.put_bytes("k", b"content")
    with store.local_copy("k", suffix=".csv") as path:
        assert (path.suffix, path.read_bytes()) == (".csv", b"content")
    assert not path.exists()
    assert store.read_bytes("k") == b"content"


def test_prefixes_in_one_bucket_are_stores_of_their_own(s3_endpoint: str, tmp_path: Path) -> None:
    values = s3_settings(s3_endpoint)
    one = ObjectStore.of(Settings(home=tmp_path, **values | {"object_store_url": values["object_store_url"] + "/one"}))
    two = ObjectStore.of(Settings(home=tmp_path, **values | {"object_store_url": values["object_store_url"] + "/two"}))
    one.put_bytes("k", b"1")
    assert not two.exists("k")
    assert [entry.key for entry in one.list("")] == ["k"]


def test_a_store_of_another_kind_is_refused_with_the_fix(tmp_path: Path) -> None:
    for url in ("ftp://host/x", "s3://", "gs://bucket"):
        with pytest.raises(Misconfigured, match="file:///folder or s3://bucket"):
            ObjectStore.of(Settings(home=tmp_path, object_store_url=url))


def test_spooling_hashes_and_counts_on_the_way(tmp_path: Path) -> None:
    content = uuid.uuid4().bytes * 500_000
    digest = spool(io.BytesIO(content), tmp_path / "f", limit=len(content))
    assert (digest.sha256, digest.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert (tmp_path / "f").read_bytes() == content
    with pytest.raises(InvalidRequest) as caught:
        spool(io.BytesIO(content), tmp_path / "g", limit=len(content) - 1)
    assert caught.value.code == "too_large"


def test_a_scratch_folder_is_cleared_whether_or_not_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "s" / "deep").mkdir(parents=True)
    clear_folder(tmp_path / "s")
    clear_folder(tmp_path / "s")
    assert not (tmp_path / "s").exists()
