"""A Python service: its tasks are named py.* and live on the queue `python`, those of the TypeScript one ts.* on `ts`."""

import os
import time

from celery import Celery, group
from kombu import Queue

app = Celery("service", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(
    task_default_queue="python",
    task_routes={"py.*": {"queue": "python"}, "ts.*": {"queue": "ts"}, "both.*": {"queue": "both"}},
    worker_prefetch_multiplier=1,
    accept_content=["json", "yaml", "msgpack"],
    broker_transport_options=(
        {"visibility_timeout": float(os.environ["VISIBILITY"])} if "VISIBILITY" in os.environ else {}
    ),
)
if "MAX_PRIORITY" in os.environ:
    priority = int(os.environ["MAX_PRIORITY"])
    app.conf.task_queues = [Queue(name, max_priority=priority) for name in ("python", "ts", "both")]


class Refused(Exception):
    """Not known to anybody but this module."""


def note(line):
    """Appends a line to the log that all workers of a test share; one write, so that lines stay whole."""
    with open(os.environ["LOG"], "a", buffering=1) as log:
        log.write(f"{line}\n")


@app.task(name="py.echo")
def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


@app.task(name="py.types")
def types(*args):
    return [f"{type(value).__name__} {value!r}" for value in args]


@app.task(name="py.add")
def add(x, y):
    return x + y


@app.task(name="py.fail")
def fail(kind="builtin"):
    if kind == "own":
        raise Refused("order", 7)
    raise ValueError(f"no good: ä {kind}")


@app.task(name="py.flaky", bind=True, max_retries=3)
def flaky(self, failures, countdown=0.1):
    if self.request.retries < failures:
        raise self.retry(countdown=countdown, exc=ValueError(f"failure {self.request.retries + 1}"))
    return self.request.retries


@app.task(name="py.silent", ignore_result=True)
def silent(text):
    note(f"silent {text}")


@app.task(name="py.note")
def write(text):
    note(text)
    return text


@app.task(name="py.clock")
def clock():
    return time.time()


@app.task(name="py.request", bind=True)
def request(self):
    request = self.request
    return {
        "id": request.id,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "retries": request.retries,
        "eta": request.eta,
        "expires": request.expires,
        "timelimit": list(request.timelimit or []),
        "priority": (request.delivery_info or {}).get("priority"),
        "mine": getattr(request, "mine", None),
    }


@app.task(name="both.hold", bind=True, acks_late=True)
def hold(self, gate):
    """Runs until the file `gate` exists."""
    note(f"start py {self.request.id}")
    deadline = time.monotonic() + 30
    while not os.path.exists(gate):
        if time.monotonic() > deadline:
            raise TimeoutError(gate)
        time.sleep(0.02)
    note(f"end py {self.request.id}")
    return "py"


@app.task(name="both.count", acks_late=True)
def count(number):
    note(f"py {number}")
    return number


@app.task(name="py.mul")
def mul(x, y):
    return x * y


@app.task(name="py.sum")
def total(numbers):
    return sum(numbers)


@app.task(name="py.grow", bind=True)
def grow(self, name, n):
    """Adds members of another language to the chord it is in."""
    for more in range(n):
        self.add_to_chord(app.signature(name, args=[100, more]))
    return n


@app.task(name="py.become", bind=True)
def become(self, name, x):
    """Goes on as a group of another language's tasks."""
    raise self.replace(group(app.signature(name, args=[x, 1]), app.signature(name, args=[x, 2])))
