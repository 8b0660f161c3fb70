"""What the scripts with the unmodified Python client share."""

import os
import time

import boto3
from remotion_lambda import RemotionClient

client = RemotionClient(
    region=os.environ["AWS_REGION"],
    serve_url="site",
    function_name=os.environ["FUNCTION"],
)
s3 = boto3.client("s3")


def ended(render):
    for _ in range(900):
        progress = client.get_render_progress(render_id=render.render_id, bucket_name=render.bucket_name)
        if progress.done or progress.fatalErrorEncountered:
            return progress
        time.sleep(0.2)
    raise AssertionError("the render does not end")
