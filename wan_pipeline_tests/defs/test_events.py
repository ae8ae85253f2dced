"""Event notifications are another source of the same discovery: nothing is lost, and the bucket is rarely listed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import dagster as dg
import pytest

from wan_pipeline.bucket import S3Bucket
from wan_pipeline.bucket.events import EventQueue
from wan_pipeline.defs import upkeep_by_events
from wan_pipeline.defs.deadline import OutOfTimeError
from wan_pipeline.defs.resources import BucketResource, installation
from wan_pipeline.defs.upkeep import Upkeep
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.shots.keys import INBOX
from wan_pipeline_tests.bucket.test_event_messages import by_sns, eventbridge, record, records
from wan_pipeline_tests.defs.lab import DEFAULTS, Lab, asked_for, jpeg
from wan_pipeline_tests.services.s3 import REGION, S3Server


@dataclass
class World:
    """A bucket that sends its events to a queue, both moto's, and an installation that reads it."""

    lab: Lab
    s3: Any
    sqs: Any
    bucket: str
    queue: str
    cursor: str | None = None

    def put(self, key: str, content: bytes | str, prefix: str = "p/inbox/") -> None:
        body = content.encode() if isinstance(content, str) else content
        self.s3.put_object(Bucket=self.bucket, Key=prefix + key, Body=body)

    def tick(self) -> list[tuple[str, str]]:
        result = self.lab.tick(self.cursor)
        self.cursor = result.cursor
        return asked_for(result.run_requests)

    def send(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)

    def waiting(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)


class Listings:
    """How often the whole inbox was listed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        real = S3Bucket.list

        def counting(bucket: S3Bucket, prefix: str = "", start_after: str = "") -> Iterator[Any]:
            self.times += prefix == INBOX
            return real(bucket, prefix, start_after)

        monkeypatch.setattr(S3Bucket, "list", counting)


def client(server: S3Server, service: str) -> Any:
    keys = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
    return boto3.client(service, endpoint_url=server.endpoint_url, region_name=REGION, **keys)  # pyright: ignore


def _bucket(**fields: str) -> BucketResource:
    return BucketResource(**fields)  # pyright: ignore[reportArgumentType, reportCallIssue]


@pytest.fixture
def world(moto_server: S3Server, lab: Lab, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> World:
    """Every inbox is a large one; shots `a`, `b`, `c` are taken up, and the queue is empty. No image waits for messages
    that may be late."""
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(installation, "LARGE_INBOX", 0)
    monkeypatch.setattr(upkeep_by_events, "_listed", set())
    monkeypatch.setattr(upkeep_by_events, "LATE", timedelta(0))
    bucket = moto_server.make_bucket()
    sqs = client(moto_server, "sqs")
    name = f"q-{uuid.uuid4().hex[:8]}"
    queue = f"{moto_server.endpoint_url}/{sqs.create_queue(QueueName=name)['QueueUrl'].partition('://')[2].partition('/')[2]}"
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    moto_server.client().put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": events}]}
    )
    lab.overrides["bucket"] = _bucket(url=f"s3://{bucket}/p", events_url=queue)
    made = World(lab, moto_server.client(), sqs, bucket, queue)
    made.put("_defaults.yaml", DEFAULTS)
    for number, key in enumerate("abc"):
        made.put(f"{key}.jpg", jpeg(number))
    assert made.tick() == [("a", "c")]
    assert made.tick() == []
    assert made.waiting() == 0
    return made


def test_what_is_new_changed_or_gone_is_found_by_its_event_and_nothing_is_listed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = Listings(monkeypatch)
    world.put("d e+é.jpg", jpeg(9))
    world.put("b.jpg", jpeg(10))
    world.s3.delete_object(Bucket=world.bucket, Key="p/inbox/c.jpg")
    assert world.waiting() == 3

    assert world.tick() == [("b", "b"), ("d e+é", "d e+é")]
    assert world.waiting() == 0
    assert world.tick() == []
    assert listings.times == 0
    with world.lab.ledger() as ledger:
        assert ledger.index.load()["c"].gone_at is not None


def test_a_message_twice_out_of_order_or_of_something_else_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = Listings(monkeypatch)
    for body in (
        records(record("p/inbox/a.jpg", world.bucket, "ObjectRemoved:Delete")),
        records(record("p/inbox/a.jpg", world.bucket)),
        by_sns(records(record("p/inbox/a.jpg", world.bucket))),
        eventbridge("p/inbox/never.jpg", world.bucket, "Object Deleted"),
        records(record("p/inbox/a.jpg", "another-bucket")),
        records(record("other/inbox/x.jpg", world.bucket), record("p/videos/a/take-1.mp4", world.bucket)),
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
    ):
        world.send(body)
    assert world.tick() == []
    assert world.waiting() == 0
    assert listings.times == 0


def test_after_a_message_that_is_not_understood_the_whole_is_listed_and_it_is_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = Listings(monkeypatch)
    world.put("d.jpg", jpeg(9))
    world.sqs.purge_queue(QueueUrl=world.queue)
    world.send("what is this?")
    assert world.tick() == [("d", "d")]
    assert (listings.times, world.waiting()) == (1, 0)


def test_more_messages_than_are_worth_it_are_one_listing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep_by_events, "MANY", 2)
    listings = Listings(monkeypatch)
    for number in range(3):
        world.put(f"d{number}.jpg", jpeg(20 + number))
    assert world.tick() == [("d0", "d2")]
    assert (listings.times, world.waiting()) == (1, 0)


def test_the_whole_is_listed_when_a_process_begins_and_once_a_day(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = Listings(monkeypatch)
    world.put("d.jpg", jpeg(9))
    world.sqs.purge_queue(QueueUrl=world.queue)  # an event that was lost
    assert world.tick() == []

    monkeypatch.setattr(upkeep_by_events, "_listed", set())
    assert world.tick() == [("d", "d")]
    assert listings.times == 1
    assert world.tick() == []
    with world.lab.ledger() as ledger:
        ledger.index.inbox.note(f"s3://{world.bucket}/p", listed_at=datetime.now(UTC) - timedelta(days=1))
    world.tick()
    assert listings.times == 2


def test_a_tick_that_is_killed_before_the_index_knows_loses_no_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.bucket.events.HIDDEN_S", 0)
    world.put("d.jpg", jpeg(9))
    with monkeypatch.context() as patched:

        def killed(*given: object, **more: object) -> None:
            raise KeyboardInterrupt

        patched.setattr("wan_pipeline.defs.upkeep.update_listed", killed)
        with pytest.raises(KeyboardInterrupt):
            world.tick()
    assert world.waiting() == 1
    assert world.tick() == [("d", "d")]


def test_a_listing_begun_before_the_messages_came_does_not_swallow_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first part was read by an earlier tick, and the object lies in that part."""
    monkeypatch.setattr(upkeep_by_events, "_listed", set())
    world.put("0.jpg", jpeg(9))
    with world.lab.ledger() as ledger:
        moment = datetime.now(UTC) - timedelta(minutes=1)
        ledger.index.inbox.note(f"s3://{world.bucket}/p", began_at=moment, reached="inbox/b.jpg")
    assert world.tick() == [("0", "0")]
    assert world.waiting() == 0


def test_an_image_alone_waits_for_messages_that_come_late(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep_by_events, "LATE", timedelta(minutes=1))
    world.put("far/group.yaml", "inputs: {first_frame: ../end.jpg}\n")
    world.put("end.jpg", jpeg(77))
    world.sqs.purge_queue(QueueUrl=world.queue)
    world.send(records(record("p/inbox/end.jpg", world.bucket)))
    assert world.tick() == []
    world.send(records(record("p/inbox/far/group.yaml", world.bucket)))
    assert world.tick() == [("far/group", "far/group")]

    world.put("alone.jpg", jpeg(78))
    assert world.tick() == []
    monkeypatch.setattr(upkeep_by_events, "LATE", timedelta(0))  # as a minute later
    assert world.tick() == [("alone", "alone")]


def test_what_a_late_message_may_tell_is_not_said_to_be_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep_by_events, "LATE", timedelta(minutes=1))
    url = f"s3://{world.bucket}/p"
    with world.lab.ledger() as ledger:
        ledger.index.inbox.note(url, fresh_at=datetime.now(UTC) - timedelta(minutes=9))
        world.tick()
        fresh_at = ledger.index.inbox.listing(url).fresh_at
        assert fresh_at is not None
        assert fresh_at <= datetime.now(UTC) - timedelta(minutes=1)
    with world.lab.installation.open() as opened:
        assert opened.inbox_is_known()


def test_on_a_part_of_the_news_nothing_is_taken_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_pipeline.bucket.events._AT_ONCE", 1)
    for key, content in (("end.jpg", jpeg(77)), ("far/group.yaml", "inputs: {first_frame: ../end.jpg}\n")):
        world.put(key, content)
    with monkeypatch.context() as patched:
        patched.setattr(upkeep_by_events, "_RECEIVE_FOR_S", -1.0)
        assert world.tick() == []
    assert world.waiting() == 1, "what was received is in the index"
    assert world.tick() == [("far/group", "far/group")]
    assert world.waiting() == 0


def test_where_uploads_never_cease_all_that_was_sent_before_the_tick_is_enough(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("d.jpg", jpeg(9))
    real = EventQueue.receive

    def endless(queue: EventQueue) -> Iterator[Any]:
        yield from real(queue)
        for number in range(1_000):
            world.put("e.jpg", jpeg(number % 200))
            yield from real(queue)
        raise AssertionError("it goes on for ever")

    monkeypatch.setattr(EventQueue, "receive", endless)
    assert ("d", "d") in {(first, "d") for first, _ in world.tick()}


def test_what_was_received_and_hidden_before_the_listing_was_over_is_not_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is anything known meanwhile: the next ticks do not receive it."""
    url = f"s3://{world.bucket}/p"
    with world.lab.ledger() as ledger:
        before = ledger.index.inbox.listing(url).fresh_at
        world.put("d.jpg", jpeg(9))
        with monkeypatch.context() as patched:
            patched.setattr(upkeep_by_events, "MANY", 0)
            patched.setattr(Upkeep, "by_listing", _no_time)
            assert world.tick() == []
            assert ledger.index.inbox.listing(url).fresh_at == before
    assert world.waiting() == 1
    assert world.tick() == [("d", "d")]
    assert world.waiting() == 0


def test_a_message_that_is_not_understood_goes_with_the_listing_that_began_after_it_over_however_many_ticks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there again while the listing lasts, and asks for no further one."""
    monkeypatch.setattr("wan_pipeline.bucket.events.HIDDEN_S", 0)
    listings = Listings(monkeypatch)
    monkeypatch.setattr("wan_pipeline.defs.upkeep.readable_until", _two_objects)
    world.send("what is this?")
    assert world.tick() == []
    assert (listings.times, world.waiting()) == (1, 1)
    assert world.tick() == []
    assert (listings.times, world.waiting()) == (2, 0)
    assert world.tick() == []
    assert listings.times == 2


def _no_time(upkeep: Upkeep) -> bool:
    del upkeep
    return False


def _two_objects(bucket: Any, deadline: float) -> Any:
    """The bucket, of which a tick has time to list two objects."""
    del deadline

    class Slow:
        def list(self, prefix: str = "", start_after: str = "") -> Iterator[Any]:
            for number, item in enumerate(bucket.list(prefix, start_after)):
                if number == 2:
                    raise OutOfTimeError
                yield item

        def __getattr__(self, name: str) -> Any:
            return getattr(bucket, name)

    return Slow()


def test_a_small_inbox_is_listed_for_each_change(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "LARGE_INBOX", 2_000)
    world.put("d.jpg", jpeg(9))
    assert world.tick() == [("d", "d")]
    assert world.waiting() == 0


def test_a_queue_that_cannot_be_used_says_which_variable_and_what_to_do(world: World) -> None:
    missing = f"{world.queue}-missing"
    for tried in (lambda: EventQueue(missing).check(), lambda: list(EventQueue(missing).receive())):
        with pytest.raises(ConfigurationError, match=r"WAN_BUCKET_EVENTS_URL: .*Make the queue, or correct the URL"):
            tried()
    with pytest.raises(ConfigurationError, match="WAN_BUCKET_EVENTS_URL: no answer from the queue"):
        EventQueue("http://127.0.0.1:1/123456789012/q").check()
    world.lab.overrides["bucket"] = _bucket(url=f"s3://{world.bucket}/p", events_url=missing)
    other = Lab(world.lab.home, world.lab.instance, world.lab.settings, world.lab.overrides)
    with pytest.raises(ConfigurationError, match="WAN_BUCKET_EVENTS_URL"):
        other.tick()


def test_a_folder_sends_no_events(lab: Lab) -> None:
    lab.overrides["bucket"] = _bucket(events_url="http://127.0.0.1:1/q")
    lab.put_shots(["a"])
    with pytest.raises(ConfigurationError, match="only a bucket on S3 sends events"):
        lab.tick()
