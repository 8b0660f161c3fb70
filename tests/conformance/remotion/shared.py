"""Two renders of the unmodified Python client with the same props, too large for an event. Leaves shared.mp4."""

import os

from remotion_lambda import Privacy, RenderMediaParams
from remotion_lambda.exception import RemotionRenderingOutputError

from common import client, ended, s3

bucket = os.environ["BUCKET"]
# The client spills what has more than 193976 characters, under the name of its content.
props = {"text": "a" * 200_000}


def media(**options):
    return client.render_media_on_lambda(RenderMediaParams(input_props=props, **options))


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
