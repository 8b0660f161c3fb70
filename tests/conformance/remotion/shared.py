"""Two renders of the unmodified Python client with the same props, too large for an event. Leaves shared.mp4."""

import os
import time

import boto3
from remotion_lambda import Privacy, RemotionClient, RenderMediaParams
from remotion_lambda.exception import RemotionRenderingOutputError

bucket = os.environ["BUCKET"]
client = RemotionClient(
    region=os.environ["AWS_REGION"],
    serve_url="site",
    function_name=os.environ["FUNCTION"],
)
s3 = boto3.client("s3")
# The client spills what has more than 193976 characters, under the name of its content.
props = {"text": "a" * 200_000}


def media(**options):
    return client.render_media_on_lambda(RenderMediaParams(input_props=props, **options))


def ended(render):
    for _ in range(900):
        progress = client.get_render_progress(render_id=render.render_id, bucket_name=render.bucket_name)
        if progress.done or progress.fatalErrorEncountered:
            return progress
        time.sleep(0.2)
    raise AssertionError("the render does not end")


def left(prefix):
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
    return [found["Key"] for found in listed.get("Contents", [])]


print("- both have them under one name")
first = media(composition="NeverReady", privacy=Privacy.PRIVATE, enable_cancellation=True)
(spilled,) = left("input-props/")
assert len(spilled) == len("input-props/") + 64 + len(".json"), spilled
second = media(composition="Echo", privacy=Privacy.PRIVATE)

print("- one is cancelled and deleted, another one never begun, and the second gets its props")
client.cancel_render_on_lambda(first.render_id, first.bucket_name)
assert ended(first).errors[-1]["name"] == "CancelledError"
for key in left(f"renders/{first.render_id}/"):
    s3.delete_object(Bucket=bucket, Key=key)
try:
    media(composition="Echo")
    raise AssertionError("a public output is refused")
except RemotionRenderingOutputError as error:
    assert "blocks public access" in str(error), error
assert left("input-props/") == [spilled], left("input-props/")
done = ended(second)
assert done.done and done.errors == [], done.errors
s3.download_file(bucket, done.outKey, "shared.mp4")

print("- what is left of them goes by the bucket's rule")
assert left("input-props/") == [spilled], left("input-props/")
rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
(rule,) = [rule for rule in rules if rule.get("Filter", {}).get("Prefix") == "input-props/"]
assert rule["Expiration"]["Days"] == 1, rule
