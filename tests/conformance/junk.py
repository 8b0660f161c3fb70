"""Requests no client would send: each is refused as the client's mistake, and the embedded cloud goes on."""

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.exceptions
import botocore.httpsession
from check import TRUST, same

session = boto3.session.Session()
unchecked = boto3.session.Config(parameter_validation=False, retries={"total_max_attempts": 1})
clients = {name: session.client(name, config=unchecked) for name in ["iam", "logs", "lambda", "s3", "sts"]}
http = botocore.httpsession.URLLib3Session(timeout=30)


def raw(service, method, path, body=b"", **headers):
    """A signed request of our own making."""
    url = session.client("sts").meta.endpoint_url + path
    request = botocore.awsrequest.AWSRequest(method, url, data=body, headers=headers)
    signer = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    signer(session.get_credentials(), service, session.region_name).add_auth(request)
    return http.send(request.prepare())


def called(service, operation, **arguments):
    try:
        getattr(clients[service], operation)(**arguments)
    except botocore.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], str(error)
    return 200, "accepted"


deep = "[" * 100_000
refused = {
    "iam number": called("iam", "list_roles", MaxItems="abc"),
    "iam zero": called("iam", "list_roles", MaxItems=0),
    "iam nothing required": called("iam", "create_role"),
    "iam long name": called("iam", "get_role", RoleName="x" * 100_000),
    "iam deep policy": called("iam", "create_role", RoleName="r", AssumeRolePolicyDocument=deep),
    "logs number": called("logs", "describe_log_groups", limit="many"),
    "logs negative": called("logs", "describe_log_groups", limit=-1),
    "logs token": called("logs", "describe_log_groups", nextToken="\u00e9"),
    "logs bad name": called("logs", "create_log_group", logGroupName="a b"),
    "logs traversal": called("logs", "create_log_group", logGroupName="../../" * 100),
    "logs nothing required": called("logs", "put_log_events"),
    "lambda nothing required": called("lambda", "create_function"),
    "lambda number": called("lambda", "list_functions", MaxItems="abc"),
    "lambda name": called("lambda", "get_function", FunctionName="../../etc"),
    "s3 part": called("s3", "upload_part", Bucket="b", Key="k", UploadId="..", PartNumber=-1, Body=b""),
}
for what, answer in refused.items():
    assert 400 <= answer[0] < 500, f"{what}: {answer}"

form = {"Content-Type": "application/x-www-form-urlencoded"}
json_type = {"Content-Type": "application/x-amz-json-1.1"}
target = "Logs_20140328.DescribeLogGroups"
for what, answer in {
    "no action": raw("iam", "POST", "/", b"", **form),
    "no form": raw("iam", "POST", "/", b"\xff\xfe\x00<xml/>", **form),
    "markup": raw("sts", "POST", "/", b"Action=%3Cb%3E%26", **form),
    "unknown parameter": raw("iam", "POST", "/", b"Action=ListRoles&Version=2010-05-08&Colour=red", **form),
    "no target": raw("logs", "POST", "/", b"{}", **json_type),
    "unknown target": raw("logs", "POST", "/", b"{}", **json_type, **{"X-Amz-Target": "Other.Thing"}),
    "no json": raw("logs", "POST", "/", b"\xff{", **json_type, **{"X-Amz-Target": target}),
    "list": raw("logs", "POST", "/", b"[1]", **json_type, **{"X-Amz-Target": target}),
    "deep": raw("logs", "POST", "/", b'{"limit":' + deep.encode(), **json_type, **{"X-Amz-Target": target}),
    "lambda no json": raw("lambda", "POST", "/2015-03-31/functions", b"{", **json_type),
    "lambda deep": raw("lambda", "POST", "/2015-03-31/functions", deep.encode(), **json_type),
    "lambda path": raw("lambda", "GET", "/%00/%ff/..", **json_type),
    "unknown service": raw("ec2", "POST", "/", b"Action=DescribeInstances", **form),
    "s3 xml": raw("s3", "POST", "/bucket?delete", b"<Delete><Object>"),
}.items():
    assert 400 <= answer.status_code < 500 or answer.status_code == 501, f"{what}: {answer.status_code} {answer.text}"
    assert "panicked" not in answer.text, f"{what}: {answer.text}"

clients["iam"].create_role(RoleName="still-there", AssumeRolePolicyDocument=TRUST)
same(len(clients["iam"].list_roles()["Roles"]), 1)
