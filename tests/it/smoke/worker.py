#!/usr/bin/env python3
"""A worker without a browser that answers the smoke render as the function's variable SMOKE says."""
import base64, http.client, json, os, subprocess, time

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
PREFIX = "/2018-06-01/runtime/invocation/"
MODE = os.environ["SMOKE"]


def colour(frame, column, row):
    """The definition in src/protocol/smoke.rs."""
    if row == 0 and column < 5:
        return 7 * (frame >> column & 1)
    return (frame + column + 2 * row) % 8


def raster():
    frames = list(range(30))
    if MODE == "drops a frame":
        frames.remove(17)
    if MODE == "doubles a frame":
        frames[17] = 16
    cells = [colour(frame, column, row) for frame in frames for row in range(4) for column in range(8)]
    if MODE == "draws something else":
        cells[12 * 32 + 9] ^= 4
    # As an encoder would have it: a little off.
    return bytes(243 if cell >> bit & 1 else 11 for cell in cells for bit in range(3))


def serve(task, say):
    assert task["type"] == "rmx.smoke", task
    if MODE == "crashes":
        os._exit(3)
    say(type="started", warm=False)
    if MODE == "hangs":
        # In a group of its own, as a browser that Node.js has started.
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        time.sleep(600)
    if MODE == "fails":
        failure = {"kind": "browser", "message": "starting the browser: there is none", "frame": None, "stack": None}
        return say(type="failed", failure=failure | {"retryable": False})
    video = {"raster": base64.b64encode(raster()).decode()}
    say(type="done", answer={"kind": "smoke"} | video)


while True:
    connection = http.client.HTTPConnection(API)
    connection.request("GET", f"{PREFIX}next")
    job = connection.getresponse()
    task = json.loads(job.read())
    reply = http.client.HTTPConnection(API)
    reply.putrequest("POST", f"{PREFIX}{job.headers['Lambda-Runtime-Aws-Request-Id']}/response")
    reply.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
    reply.putheader("Transfer-Encoding", "chunked")
    reply.endheaders()

    def say(**message):
        line = json.dumps(message).encode() + b"\n"
        reply.send(b"%x\r\n%s\r\n" % (len(line), line))

    serve(task, say)
    reply.send(b"0\r\n\r\n")
    reply.getresponse().read()
