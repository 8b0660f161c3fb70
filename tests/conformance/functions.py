"""Lambda through boto3: the control plane, and a function written in Python that is really run."""

import base64
import hashlib
import io
import json
import os
import pathlib
import sys
import time
import zipfile

import boto3
from check import TRUST, refused, same

BOOTSTRAP = f"""#!{sys.executable}
import http.client, json, os, time
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
path = "/2018-06-01/runtime/invocation/"
calls = 0
while True:
    next = http.client.HTTPConnection(api)
    next.request("GET", path + "next")
    answer = next.getresponse()
    event = json.loads(answer.read())
    id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
    calls += 1
    print("handling", event, flush=True)
    back = http.client.HTTPConnection(api)
    if event.get("fail"):
        error = json.dumps({{"errorMessage": "on purpose", "errorType": "Wanted"}})
        back.request("POST", path + id + "/error", error, {{"Lambda-Runtime-Function-Error-Type": "Wanted"}})
    elif event.get("stream"):
        def chunks():
            # Each but the first is written only once the client has seen the one before it.
            for number in range(3):
                deadline = time.monotonic() + 8
                while number and not os.path.exists(event["stream"] + str(number - 1)):
                    assert time.monotonic() < deadline, "the client has not seen what was written"
                    time.sleep(0.01)
                yield f"chunk {{number}}\\n".encode()
        headers = {{"Lambda-Runtime-Function-Response-Mode": "streaming", "Transfer-Encoding": "chunked"}}
        back.request("POST", path + id + "/response", chunks(), headers, encode_chunked=True)
    else:
        time.sleep(event.get("sleep", 0))
        body = json.dumps({{"event": event, "calls": calls, "pid": os.getpid(), "mark": os.environ.get("MARK")}})
        back.request("POST", path + id + "/response", body)
    back.getresponse().read()
"""


def package(text=BOOTSTRAP):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o100755 << 16
        archive.writestr(entry, text)
    return buffer.getvalue()


iam = boto3.client("iam")
functions = boto3.client("lambda")
logs = boto3.client("logs")
code = package()
create = dict(
    FunctionName="worker",
    Runtime="provided.al2023",
    Handler="bootstrap",
    Code={"ZipFile": code},
    Timeout=10,
    MemorySize=256,
    Environment={"Variables": {"MARK": "one"}},
    Tags={"rmx:stack": "one"},
)
account = boto3.client("sts").get_caller_identity()["Account"]
missing = f"arn:aws:iam::{account}:role/worker"
error = refused("InvalidParameterValueException", functions.create_function, Role=missing, **create)
assert "cannot be assumed by Lambda" in error["Error"]["Message"], error
role = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=TRUST.replace("lambda", "ec2"))["Role"]["Arn"]
refused("InvalidParameterValueException", functions.create_function, Role=role, **create)
iam.update_assume_role_policy(RoleName="worker", PolicyDocument=TRUST)
refused("InvalidParameterValueException", functions.create_function, Role=role, **{**create, "Code": {"ZipFile": b"no"}})
refused("ResourceNotFoundException", functions.get_function, FunctionName="worker")

made = functions.create_function(Role=role, **create)
same((made["State"], made["CodeSize"]), ("Pending", len(code)))
same(made["CodeSha256"], base64.b64encode(hashlib.sha256(code).digest()).decode())
refused("ResourceConflictException", functions.create_function, Role=role, **create)
functions.get_waiter("function_active_v2").wait(FunctionName="worker", WaiterConfig={"Delay": 1})
same([row["FunctionName"] for row in functions.list_functions()["Functions"]], ["worker"])
same(functions.list_tags(Resource=made["FunctionArn"])["Tags"], {"rmx:stack": "one"})


def invoke(payload, **arguments):
    answer = functions.invoke(FunctionName="worker", Payload=json.dumps(payload), **arguments)
    return answer, answer["Payload"].read()


# Invocations: one environment, kept warm.
answer, body = invoke({"n": 1}, LogType="Tail")
first = json.loads(body)
same((first["event"], first["calls"], first["mark"]), ({"n": 1}, 1, "one"))
assert b"handling {'n': 1}" in base64.b64decode(answer["LogResult"])
again = json.loads(invoke({"n": 2})[1])
same((again["calls"], again["pid"]), (2, first["pid"]), "warm")
answer, body = invoke({"fail": True})
same((answer["StatusCode"], answer["FunctionError"]), (200, "Unhandled"))
same(json.loads(body)["errorMessage"], "on purpose")
same(invoke({}, InvocationType="DryRun")[0]["StatusCode"], 204)
same(invoke({"event": 1}, InvocationType="Event")[0]["StatusCode"], 202)
refused("InvalidRequestContentException", functions.invoke, FunctionName="worker", Payload=b"{no json")
refused("ResourceNotFoundException", functions.invoke, FunctionName="none")

# A response stream arrives as it is written: the function waits for the client between chunks.
seen = os.path.abspath("seen-")
payload = json.dumps({"stream": seen})
chunks, complete = b"", None
for event in functions.invoke_with_response_stream(FunctionName="worker", Payload=payload)["EventStream"]:
    if "PayloadChunk" in event:
        chunks += event["PayloadChunk"]["Payload"]
        pathlib.Path(seen + str(chunks.count(b"\n") - 1)).touch()
    else:
        complete = event["InvokeComplete"]
assert "ErrorCode" not in complete, complete
same(chunks, b"chunk 0\nchunk 1\nchunk 2\n")

# What it wrote is in its log group.
for attempt in range(100):
    try:
        found = logs.filter_log_events(logGroupName="/aws/lambda/worker", filterPattern="handling")["events"]
    except logs.exceptions.ResourceNotFoundException:
        found = []
    if any("event': 1" in event["message"] for event in found):
        break
    time.sleep(0.1)
else:
    raise AssertionError(f"not in the log: {found}")
assert any("'n': 1" in event["message"] for event in found), found

# Changes, versions, aliases.
refused("PreconditionFailedException", functions.update_function_code, FunctionName="worker", ZipFile=code, RevisionId="none")
two = dict(FunctionName="worker", Environment={"Variables": {"MARK": "two"}}, MemorySize=512)
# An update takes a moment, and another one within it is refused. On a slow day the moment may be over too soon.
for attempt in range(50):
    functions.update_function_configuration(**two)
    try:
        functions.update_function_code(FunctionName="worker", ZipFile=code)
    except functions.exceptions.ResourceConflictException:
        break
    functions.get_waiter("function_updated_v2").wait(FunctionName="worker", WaiterConfig={"Delay": 1})
else:
    raise AssertionError("an update during an update is accepted")
functions.get_waiter("function_updated_v2").wait(FunctionName="worker", WaiterConfig={"Delay": 1})
same(json.loads(invoke({})[1])["mark"], "two", "changed environments are new ones")
published = functions.publish_version(FunctionName="worker")
same(functions.publish_version(FunctionName="worker")["Version"], published["Version"], "nothing has changed")
functions.get_waiter("published_version_active").wait(FunctionName="worker", Qualifier=published["Version"], WaiterConfig={"Delay": 1})
functions.create_alias(FunctionName="worker", Name="live", FunctionVersion=published["Version"])
same(invoke({}, Qualifier="live")[0]["ExecutedVersion"], published["Version"])
functions.put_function_event_invoke_config(FunctionName="worker", MaximumRetryAttempts=0)
same(functions.get_function_event_invoke_config(FunctionName="worker")["MaximumRetryAttempts"], 0)
functions.put_function_concurrency(FunctionName="worker", ReservedConcurrentExecutions=0)
refused("TooManyRequestsException", boto3.client("lambda", config=boto3.session.Config(retries={"total_max_attempts": 1})).invoke, FunctionName="worker")
functions.delete_function_concurrency(FunctionName="worker")
functions.get_account_settings()

functions.delete_function(FunctionName="worker")
refused("ResourceNotFoundException", functions.delete_function, FunctionName="worker")
