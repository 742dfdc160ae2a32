"""Celery's producer under measurement: obeys one JSON line on its input after the other, and answers each with one.

    {"do": "send", "payloads": [...]}      each by apply_async, one after the other
    {"do": "now", "payload": {...}}        the same for one, whose `at` is set to now, in ms of CLOCK_MONOTONIC
    {"do": "eta", "payloads": [...]}       each with its `at`, in ms of the epoch, as its ETA
    {"do": "chain", "payload": {...}}      first | second | last, `at` as for "now"
    {"do": "chord", "payload": {...}, "members": n}    n no-ops, then last, `at` as for "now"
    {"do": "waiting"}                      answers how many messages the queue holds

It ends with its input, and so with the process that started it.
"""

import json
import sys
import time
from datetime import datetime, timezone

from celery import chord

from bench_app import app, first, last, member, noop, second


def send(order):
    for payload in order["payloads"]:
        noop.apply_async((payload,))


def now(order):
    noop.apply_async((stamped(order["payload"]),))


def eta(order):
    for payload in order["payloads"]:
        noop.apply_async((payload,), eta=datetime.fromtimestamp(payload["at"] / 1e3, timezone.utc))


def chain(order):
    (first.s(stamped(order["payload"])) | second.s() | last.s()).apply_async()


def join(order):
    chord([member.si() for _ in range(order["members"])])(last.si(stamped(order["payload"])))


def waiting(_order):
    with app.connection_for_read() as connection:
        try:
            return connection.default_channel.queue_declare("bench", passive=True).message_count
        except connection.channel_errors:  # on Redis, an empty queue does not exist
            return 0


def stamped(payload):
    return {**payload, "at": time.clock_gettime(time.CLOCK_MONOTONIC) * 1e3}


orders = {"send": send, "now": now, "eta": eta, "chain": chain, "chord": join, "waiting": waiting}

# Connected and warm before anything is measured.
with app.connection_for_write() as connection:
    connection.connect()
    app.amqp.queues["bench"](connection.default_channel).declare()
print(json.dumps("ready"), flush=True)

for line in sys.stdin:
    order = json.loads(line)
    print(json.dumps(orders[order["do"]](order)), flush=True)
