"""Celery's tasks under measurement, for the worker (`celery -A bench_app worker`) and for producer.py.

Every process that runs tasks appends to a meter file of its own in BENCH_METER: records of five doubles, namely what
happened (0 a chain began, 1 a chain's last step ran, 2 a single task ran), the payload's `i` and `at`, and when it
started, in ms of CLOCK_MONOTONIC and of the epoch. bench/sides/celery-meter.ts reads them.
"""

import ctypes
import os
import signal
import struct
import sys
import time
from socket import TCP_USER_TIMEOUT

from celery import Celery
from celery.signals import worker_process_init, worker_ready

BEGAN, LAST, SINGLE = 0, 1, 2

broker = os.environ["BENCH_BROKER"]
app = Celery("bench", broker=broker, backend=os.environ.get("BENCH_RESULTS"))
app.conf.update(
    task_default_queue="bench",
    task_ignore_result="BENCH_RESULTS" not in os.environ,
    worker_redirect_stdouts=False,
    # py-amqp drops a connection that RabbitMQ throttles for a second, and what was written to it is lost unconfirmed.
    broker_transport_options={"socket_settings": {TCP_USER_TIMEOUT: 60_000}} if broker.startswith("amqp") else {},
)

_meter = None


def record(what, payload):
    global _meter
    monotonic, epoch = time.clock_gettime(time.CLOCK_MONOTONIC), time.time()
    if _meter is None:  # in the process that runs tasks, which the worker forks
        path = os.path.join(os.environ["BENCH_METER"], f"{os.getpid()}.meter")
        _meter = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(_meter, struct.pack("<5d", what, payload["i"], payload["at"], monotonic * 1e3, epoch * 1e3))


@app.task(name="bench.noop")
def noop(payload):
    record(SINGLE, payload)
    return payload["i"]


@app.task(name="bench.first", ignore_result=True)
def first(payload):
    record(BEGAN, payload)
    return payload


@app.task(name="bench.second", ignore_result=True)
def second(payload):
    return payload


@app.task(name="bench.member")
def member():
    pass


@app.task(name="bench.last", ignore_result=True)
def last(payload):
    record(LAST, payload)


@worker_ready.connect
def say_ready(**_):
    os.write(1, b"ready\n")


@worker_process_init.connect
def end_with_worker(**_):
    """A child that outlived its worker, killed at a deadline, would take messages from the next measurement."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
