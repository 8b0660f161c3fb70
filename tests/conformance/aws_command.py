"""The `aws` command, with nothing but the environment."""

import json
import os
import pathlib
import subprocess
import sys
import time

from check import TRUST, same

AWS = os.environ["RMX_TEST_AWS"]
if not AWS:
    print("skipped: there is no `aws` command; scripts/test installs it")
    sys.exit()


def run(*arguments):
    return subprocess.run([AWS, *arguments], capture_output=True, text=True, timeout=60)


def aws(*arguments):
    ended = run(*arguments)
    same(ended.returncode, 0, f"aws {' '.join(arguments)}\n{ended.stdout}\n{ended.stderr}")
    return ended.stdout


def refused(code, *arguments):
    """Refused with `code`; the exit status differs between the versions of the command."""
    ended = run(*arguments)
    assert ended.returncode != 0 and code in ended.stderr, f"{code}: {ended}"


def data(*arguments):
    return json.loads(aws(*arguments, "--output", "json"))


same(data("sts", "get-caller-identity")["Arn"].split(":")[-1], "user/local")
aws("s3", "mb", "s3://farm")
site = pathlib.Path("site")
(site / "static").mkdir(parents=True)
(site / "index.html").write_text("<!doctype html>")
(site / "static" / "a.bin").write_bytes(os.urandom(9 * 1024 * 1024))
aws("s3", "sync", "site", "s3://farm/sites/a")
same(aws("s3", "sync", "site", "s3://farm/sites/a"), "", "nothing is left to be done")
aws("s3", "cp", "s3://farm/sites/a/static/a.bin", "copy.bin")
assert pathlib.Path("copy.bin").read_bytes() == (site / "static" / "a.bin").read_bytes()
same([line.split()[-1] for line in aws("s3", "ls", "--recursive", "s3://farm/").splitlines()],
     ["sites/a/index.html", "sites/a/static/a.bin"])
same(aws("s3", "cp", "s3://farm/sites/a/index.html", "-"), "<!doctype html>")
refused("BucketNotEmpty", "s3", "rb", "s3://farm")
aws("s3", "rb", "--force", "s3://farm")

pathlib.Path("trust.json").write_text(TRUST)
made = data("iam", "create-role", "--role-name", "worker", "--assume-role-policy-document", "file://trust.json")
same(made["Role"]["AssumeRolePolicyDocument"], json.loads(TRUST))
refused("NoSuchEntity", "iam", "get-role", "--role-name", "none")

aws("logs", "create-log-group", "--log-group-name", "/farm")
aws("logs", "create-log-stream", "--log-group-name", "/farm", "--log-stream-name", "s")
now = str(int(time.time() * 1000))
aws("logs", "put-log-events", "--log-group-name", "/farm", "--log-stream-name", "s",
    "--log-events", f"timestamp={now},message=hello")
same(data("logs", "get-log-events", "--log-group-name", "/farm", "--log-stream-name", "s")["events"][0]["message"], "hello")
same(data("lambda", "list-functions")["Functions"], [])
same(data("lambda", "get-account-settings")["AccountLimit"]["ConcurrentExecutions"] > 0, True)

parameter = ["--name", "/farm/token"]
same(data("ssm", "put-parameter", *parameter, "--type", "SecureString", "--value", "one",
          "--tags", "Key=team,Value=video")["Version"], 1)
refused("ParameterAlreadyExists", "ssm", "put-parameter", *parameter, "--type", "SecureString", "--value", "two")
same(data("ssm", "put-parameter", *parameter, "--value", "two", "--overwrite")["Version"], 2)
same(data("ssm", "get-parameter", *parameter, "--with-decryption")["Parameter"]["Value"], "two")
assert data("ssm", "get-parameter", *parameter)["Parameter"]["Value"] != "two"
found = data("ssm", "get-parameters", "--names", "/farm/token:1", "/none", "--with-decryption")
same((found["Parameters"][0]["Value"], found["InvalidParameters"]), ("one", ["/none"]))
resource = ["--resource-type", "Parameter", "--resource-id", "/farm/token"]
aws("ssm", "add-tags-to-resource", *resource, "--tags", "Key=stage,Value=prod")
same(len(data("ssm", "list-tags-for-resource", *resource)["TagList"]), 2)
aws("ssm", "delete-parameter", *parameter)
refused("ParameterNotFound", "ssm", "get-parameter", *parameter)
