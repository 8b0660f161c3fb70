"""S3 through boto3."""

import http.client
import io
import threading
import time
import urllib.parse

import boto3
from check import refused, same

s3 = boto3.client("s3")
same(s3.list_buckets()["Buckets"], [])
same(refused("404", s3.head_bucket, Bucket="farm-none")["ResponseMetadata"]["HTTPStatusCode"], 404)
s3.create_bucket(Bucket="farm")
s3.create_bucket(Bucket="farm")  # once more is accepted in us-east-1
s3.get_waiter("bucket_exists").wait(Bucket="farm")
refused("InvalidBucketName", s3.create_bucket, Bucket="Farm_")
europe = boto3.client("s3", region_name="eu-central-1")
refused("IllegalLocationConstraintException", europe.create_bucket, Bucket="farm-eu")
place = {"LocationConstraint": "eu-central-1"}
europe.create_bucket(Bucket="farm-eu", CreateBucketConfiguration=place)
refused("BucketAlreadyOwnedByYou", europe.create_bucket, Bucket="farm-eu", CreateBucketConfiguration=place)
same(s3.get_bucket_location(Bucket="farm-eu")["LocationConstraint"], "eu-central-1")

# AWS's defaults on a new bucket, and what has none.
blocked = s3.get_public_access_block(Bucket="farm")["PublicAccessBlockConfiguration"]
same(set(blocked.values()), {True})
rules = s3.get_bucket_ownership_controls(Bucket="farm")["OwnershipControls"]["Rules"]
same(rules, [{"ObjectOwnership": "BucketOwnerEnforced"}])
encryption = s3.get_bucket_encryption(Bucket="farm")["ServerSideEncryptionConfiguration"]["Rules"][0]
same(encryption["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"], "AES256")
refused("NoSuchTagSet", s3.get_bucket_tagging, Bucket="farm")
refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket="farm")
s3.put_bucket_tagging(Bucket="farm", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
same(s3.get_bucket_tagging(Bucket="farm")["TagSet"], [{"Key": "a", "Value": "b"}])
rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "renders/"}, "Expiration": {"Days": 1}}
s3.put_bucket_lifecycle_configuration(Bucket="farm", LifecycleConfiguration={"Rules": [rule]})
same(s3.get_bucket_lifecycle_configuration(Bucket="farm")["Rules"][0]["Expiration"], {"Days": 1})

# Objects.
body = bytes(range(256)) * 64
put = s3.put_object(Bucket="farm", Key="a b/+\u00e9&.bin", Body=body, ContentType="video/mp4", Metadata={"k": "v"})
read = s3.get_object(Bucket="farm", Key="a b/+\u00e9&.bin")
same((read["Body"].read(), read["ETag"], read["ContentType"], read["Metadata"]), (body, put["ETag"], "video/mp4", {"k": "v"}))
part = s3.get_object(Bucket="farm", Key="a b/+\u00e9&.bin", Range="bytes=10-19")
same((part["Body"].read(), part["ContentRange"]), (body[10:20], f"bytes 10-19/{len(body)}"))
refused("InvalidRange", s3.get_object, Bucket="farm", Key="a b/+\u00e9&.bin", Range="bytes=99999-")
refused("NoSuchKey", s3.get_object, Bucket="farm", Key="none")
refused("NoSuchBucket", s3.get_object, Bucket="farm-none", Key="none")

# Conditional writes.
once = dict(Bucket="farm", Key="once", Body=b"1", IfNoneMatch="*")
tag = s3.put_object(**once)["ETag"]
refused("PreconditionFailed", s3.put_object, **once)
refused("PreconditionFailed", s3.put_object, Bucket="farm", Key="once", Body=b"2", IfMatch='"0"')
s3.put_object(Bucket="farm", Key="once", Body=b"2", IfMatch=tag)
refused("NoSuchKey", s3.put_object, Bucket="farm", Key="absent", Body=b"", IfMatch=tag)
outcomes = []


def race(number):
    client = boto3.session.Session().client("s3")
    try:
        client.put_object(Bucket="farm", Key="race", Body=str(number).encode(), IfNoneMatch="*")
        outcomes.append(number)
    except client.exceptions.ClientError as error:
        same(error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"), True, str(error))


threads = [threading.Thread(target=race, args=(number,)) for number in range(24)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
same(len(outcomes), 1, "winners of 24")
same(s3.get_object(Bucket="farm", Key="race")["Body"].read(), str(outcomes[0]).encode())

# Multipart, by hand and by the transfer manager.
upload = s3.create_multipart_upload(Bucket="farm", Key="parts")["UploadId"]
pieces = [b"x" * (5 * 1024 * 1024), b"end"]
parts = []
for number, piece in enumerate(pieces, 1):
    sent = s3.upload_part(Bucket="farm", Key="parts", UploadId=upload, PartNumber=number, Body=piece)
    parts.append({"PartNumber": number, "ETag": sent["ETag"]})
complete = dict(Bucket="farm", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
assert s3.complete_multipart_upload(**complete)["ETag"].endswith('-2"')
same(s3.get_object(Bucket="farm", Key="parts")["Body"].read(), b"".join(pieces))
refused("NoSuchUpload", s3.abort_multipart_upload, Bucket="farm", Key="parts", UploadId="none")
big = b"0123456789abcdef" * (1024 * 1024)
s3.upload_fileobj(io.BytesIO(big), "farm", "big")
copy = io.BytesIO()
s3.download_fileobj("farm", "big", copy)
assert copy.getvalue() == big
s3.copy_object(Bucket="farm", Key="copy", CopySource={"Bucket": "farm", "Key": "a b/+\u00e9&.bin"})
same(s3.get_object(Bucket="farm", Key="copy")["Body"].read(), body)

# Listing.
for number in range(5):
    s3.put_object(Bucket="farm", Key=f"l/{number}/a+b c", Body=b"")
pages = s3.get_paginator("list_objects_v2").paginate(Bucket="farm", Prefix="l/", PaginationConfig={"PageSize": 2})
same([row["Key"] for page in pages for row in page["Contents"]], [f"l/{n}/a+b c" for n in range(5)])
folders = s3.list_objects_v2(Bucket="farm", Prefix="l/", Delimiter="/")["CommonPrefixes"]
same([row["Prefix"] for row in folders], [f"l/{n}/" for n in range(5)])


# Presigned addresses: boto3's default here is signature version 2, other clients use version 4.
def fetch(address, method="GET", body=None):
    parts = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(method, f"{parts.path}?{parts.query}", body)
    answer = connection.getresponse()
    return answer.status, answer.read()


for version in ["s3", "s3v4"]:
    client = boto3.client("s3", config=boto3.session.Config(signature_version=version))
    params = {"Bucket": "farm", "Key": "once"}
    address = client.generate_presigned_url("get_object", Params=params, ExpiresIn=60)
    same(fetch(address), (200, b"2"), version)
    same(fetch(address.replace("once", "race"))[0], 403, f"{version} tampered")
    params["Key"] = f"signed-{version}"
    address = client.generate_presigned_url("put_object", Params=params, ExpiresIn=60)
    same(fetch(address, "PUT", b"by hand")[0], 200, version)
    same(s3.get_object(**params)["Body"].read(), b"by hand")
    address = client.generate_presigned_url("get_object", Params=params, ExpiresIn=1)
    time.sleep(2.5)
    same(fetch(address)[0], 403, f"{version} expired")
same(fetch(address.split("?")[0])[0], 403, "anonymous")

# Deletion.
refused("BucketNotEmpty", s3.delete_bucket, Bucket="farm")
keys = [row["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="farm") for row in page["Contents"]]
gone = s3.delete_objects(Bucket="farm", Delete={"Objects": [{"Key": key} for key in [*keys, "none"]]})
same(len(gone["Deleted"]), len(keys) + 1)
s3.delete_bucket(Bucket="farm")
s3.delete_bucket(Bucket="farm-eu")
same(s3.list_buckets()["Buckets"], [])
