"""
Runs Python text for the tests, beside the service's application: one JSON object per line in, one per line out.
`{"code": …, "given": {…}}` is answered with the value of its last expression, or with what it raised.
"""

import ast
import json
import sys
import traceback
from datetime import datetime, timedelta, timezone

from celery import chain, chord, group, signature
from celery.canvas import chunks, xmap, xstarmap
from celery.result import AsyncResult

from service import app

answers = sys.stdout
sys.stdout = sys.stderr
scope = {
    "app": app,
    "s": lambda name, *args, **kwargs: app.signature(name, args=args, kwargs=kwargs),
    "send": lambda name, *args, **kwargs: app.send_task(name, args, kwargs),
    "AsyncResult": lambda task_id: AsyncResult(task_id, app=app),
    "chain": chain,
    "chord": chord,
    "chunks": chunks,
    "xmap": xmap,
    "xstarmap": xstarmap,
    "group": group,
    "signature": signature,
    "datetime": datetime,
    "timedelta": timedelta,
    "timezone": timezone,
}


def evaluate(code, given):
    scope.update(given)
    body = ast.parse(code).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "test", "exec"), scope)
    return None if last is None else eval(compile(ast.Expression(last.value), "test", "eval"), scope)


for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"value": evaluate(request["code"], request["given"])}
        # What JSON has no form for as its text: of an AsyncResult the id.
        text = json.dumps(answer, default=str)
    except BaseException as error:
        answer = {"error": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
        text = json.dumps(answer)
    print(text, file=answers, flush=True)
