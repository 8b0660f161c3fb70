#!/usr/bin/env python3
"""A worker without a browser: speaks the Runtime API and rmx's protocol, and fails when it is told to.

The input props say what to do: {"faults": {"CHUNK:ATTEMPT": "crash"}, "marker": "/a/file"}. Segments are made by ffmpeg.
"""
import datetime, hashlib, hmac, http.client, json, os, subprocess, sys, time, urllib.parse

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
PREFIX = "/2018-06-01/runtime/invocation/"
COMPOSITIONS = ["Title", "HelloWorld"]


class Reply:
    """A streamed answer, one JSON object a line."""

    def __init__(self, invocation):
        self.connection = http.client.HTTPConnection(API)
        self.connection.putrequest("POST", f"{PREFIX}{invocation}/response")
        self.connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
        self.connection.putheader("Transfer-Encoding", "chunked")
        self.connection.endheaders()

    def say(self, **message):
        line = json.dumps(message).encode() + b"\n"
        self.connection.send(b"%x\r\n%s\r\n" % (len(line), line))

    def end(self):
        self.connection.send(b"0\r\n\r\n")
        self.connection.getresponse().read()


def put(bucket, key, body, dies=False):
    """Writes an object unless there is one, or dies half-way; a Signature Version 4 of its own, so that nothing must be installed."""
    host = urllib.parse.urlparse(os.environ["AWS_ENDPOINT_URL"]).netloc
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    region, digest = os.environ["AWS_REGION"], hashlib.sha256(body).hexdigest()
    headers = {"host": host, "if-none-match": "*", "x-amz-content-sha256": digest, "x-amz-date": now}
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = token
    signed = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    path = urllib.parse.quote(f"/{bucket}/{key}")
    request = "\n".join(["PUT", path, "", lines, signed, digest])
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(request.encode()).hexdigest()])
    secret = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in [now[:8], region, "s3", "aws4_request", text]:
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={secret.hex()}"
    connection = http.client.HTTPConnection(host)
    if dies:
        connection.request("PUT", path, body[: len(body) // 2], headers | {"content-length": str(len(body))})
        os._exit(3)
    connection.request("PUT", path, body, headers)
    status = connection.getresponse().status
    assert status in (200, 412), status
    return status == 412


def composition(name):
    return {
        "id": name, "width": 160, "height": 120, "fps": [30, 1], "duration_in_frames": 30,
        "resolved_props": "{}", "default_props": "{}",
        "defaults": dict.fromkeys(["out_name", "image_format", "pixel_format", "pro_res_profile", "sample_rate"])
        | {"codec": "vp9" if name == "HelloWorld" else None},
    }


def failure(kind, message, frame=None):
    return {"kind": kind, "message": message, "frame": frame, "stack": "at page.js:1", "retryable": False}


def chunk(task, reply):
    start, end = task["frames"]
    whose = f"renderId={task['render_id']},chunk={task['chunk']},attempt={task['attempt']}"
    print(f" INFO invocation: method=renderer,{whose},isWarm=false", file=sys.stderr, flush=True)
    props = json.loads(task["input_props"])
    fault = props.get("faults", {}).get(f"{task['chunk']}:{task['attempt']}")
    if fault and (marker := props.get("marker")):
        # A fault with a marker happens once.
        if os.path.exists(marker):
            fault = None
        else:
            open(marker, "w").close()
    while (file := props.get("waits")) and not os.path.exists(file):
        reply.say(type="progress", rendered=0, encoded=0)
        time.sleep(0.05)
    if fault == "page error":
        return reply.say(type="failed", failure=failure("page_error", "no such image", start + 1))
    if fault == "crash":
        os._exit(3)
    if fault == "stall":
        time.sleep(60)
    twin = props.get("twin")
    for _ in range(1200 if fault == "waits for its twin" else 0):
        if os.path.exists(twin):
            break
        time.sleep(0.05)
    source = f"testsrc2=size=160x120:rate=30,trim=start_frame={start}:end_frame={end},setpts=PTS-STARTPTS"
    path = f"{os.environ.get('TMPDIR', '/tmp')}/segment-{os.getpid()}.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-pix_fmt", "yuv420p",
         "-threads", "1", "-x264-params", "stitchable=1", "-video_track_timescale", "90000", path],
        check=True,
    )
    with open(path, "rb") as file:
        body = file.read()
    os.remove(path)
    if fault == "dies uploading":
        open(twin, "w").close()
    already_there = put(task["bucket"], task["segment_key"], body, dies=fault == "dies uploading")
    reply.say(type="progress", rendered=end - start, encoded=end - start)
    if fault == "lost answer":
        return
    reply.say(type="done", answer={
        "kind": "segment", "chunk": task["chunk"], "key": task["segment_key"], "size_bytes": len(body),
        "frame_count": end - start, "already_there": already_there,
        "captured": {"method": task["capture"]["method"], "reason": None},
        "timings": dict.fromkeys(["open_ms", "capture_ms", "encode_tail_ms", "upload_ms"], 0),
    })


def serve(task, reply):
    reply.say(type="started", warm=False)
    if task["type"] == "rmx.chunk":
        chunk(task, reply)
    elif task["type"] == "rmx.compositions":
        reply.say(type="done", answer={"kind": "compositions", "compositions": [composition(c) for c in COMPOSITIONS]})
    elif task["composition"] in COMPOSITIONS:
        reply.say(type="done", answer={"kind": "composition", "composition": composition(task["composition"])})
    else:
        reply.say(type="failed", failure=failure("unknown_composition", "no such composition"))


while True:
    connection = http.client.HTTPConnection(API)
    connection.request("GET", f"{PREFIX}next")
    job = connection.getresponse()
    task = json.loads(job.read())
    reply = Reply(job.headers["Lambda-Runtime-Aws-Request-Id"])
    serve(task, reply)
    reply.end()
