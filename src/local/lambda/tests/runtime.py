#!/usr/bin/env python3
"""A custom runtime in the standard library alone: does what its event asks for."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
PATH = "/2018-06-01/runtime/"
served = 0


def post(path, body, headers=None):
    connection = http.client.HTTPConnection(API)
    connection.request("POST", PATH + path, body, headers or {})
    connection.getresponse().read()
    connection.close()


def stream(identity, event):
    connection = http.client.HTTPConnection(API)
    connection.putrequest("POST", PATH + f"invocation/{identity}/response")
    connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
    connection.putheader("Transfer-Encoding", "chunked")
    if "trailer" in event:
        connection.putheader("Trailer", "Lambda-Runtime-Function-Error-Type")
    connection.endheaders()
    for index, chunk in enumerate(event["stream"]):
        data = chunk.encode()
        connection.send(b"%x\r\n%s\r\n" % (len(data), data))
        if "gate" in event and index == 0:
            while not os.path.exists(event["gate"]):
                time.sleep(0.01)
        if "die" in event:
            os.kill(os.getpid(), signal.SIGKILL)
    trailer = b""
    if "trailer" in event:
        trailer = b"Lambda-Runtime-Function-Error-Type: %s\r\n" % event["trailer"].encode()
    connection.send(b"0\r\n" + trailer + b"\r\n")
    connection.getresponse().read()
    connection.close()


if "INIT_EXIT" in os.environ:
    sys.exit(int(os.environ["INIT_EXIT"]))
if "INIT_ERROR" in os.environ:
    post("init/error", json.dumps({"errorType": "Init.Bad", "errorMessage": "no"}))
    sys.exit(1)

while True:
    connection = http.client.HTTPConnection(API)
    connection.request("GET", PATH + "invocation/next")
    response = connection.getresponse()
    body = response.read()
    connection.close()
    identity = response.headers["Lambda-Runtime-Aws-Request-Id"]
    event = json.loads(body)
    served += 1
    if "print" in event:
        print(event["print"], flush=True)
    if "child" in event:
        child = subprocess.Popen(["sleep", "300"], start_new_session=True)
        with open(event["child"], "w") as file:
            file.write(f"{os.getpid()} {child.pid}\n")
        os.rename(event["child"], event["child"] + ".done")
    if "exit" in event:
        sys.exit(event["exit"])
    if "kill" in event:
        os.kill(os.getpid(), event["kill"])
    if "wait_for" in event:
        while not os.path.exists(event["wait_for"]):
            time.sleep(0.01)
    if "once" in event:
        with open(event["once"], "a") as file:
            file.write(identity + "\n")
    if "error" in event:
        post(f"invocation/{identity}/error", json.dumps({"errorType": "Mine", "errorMessage": event["error"]}))
    elif "stream" in event:
        stream(identity, event)
    elif "raw" in event:
        post(f"invocation/{identity}/response", event["raw"])
    elif "size" in event:
        post(f"invocation/{identity}/response", b'"' + b"x" * event["size"] + b'"')
    else:
        post(f"invocation/{identity}/response", json.dumps({
            "pid": os.getpid(),
            "served": served,
            "arn": response.headers["Lambda-Runtime-Invoked-Function-Arn"],
            "left_ms": int(response.headers["Lambda-Runtime-Deadline-Ms"]) - time.time() * 1000,
            "cwd": os.getcwd(),
            "environment": dict(os.environ),
        }))
