"""The unmodified Python client against a farm of rmx. Leaves python.mp4 and python.png for the test that runs this."""

import os

from remotion_lambda import Privacy, RenderMediaParams, RenderStillParams, ValidStillImageFormats
from remotion_lambda.exception import RemotionRenderingOutputError

from common import client, ended, s3


def media(**options):
    return client.render_media_on_lambda(RenderMediaParams(privacy=Privacy.PRIVATE, **options))


print("- a render until it is done")
render = media(composition="Plain", input_props={"title": "é"}, video_bitrate=400_000, audio_bitrate=96_000)
done = ended(render)
assert done.done and done.errors == [], done.errors
assert done.overallProgress == 1
assert done.outKey == f"renders/{render.render_id}/out.mp4", done.outKey
s3.download_file(render.bucket_name, done.outKey, "python.mp4")

print("- a still")
still = client.render_still_on_lambda(
    RenderStillParams(
        composition="Plain", privacy=Privacy.PRIVATE, frame=7, image_format=ValidStillImageFormats.PNG, input_props={}
    )
)
assert still.outKey == f"renders/{still.render_id}/out.png", still.outKey
s3.download_file(still.bucket_name, still.outKey, "python.png")
assert os.path.getsize("python.png") == still.size_in_bytes

print("- a cancel")
endless = media(composition="NeverReady", input_props={}, enable_cancellation=True)
client.cancel_render_on_lambda(endless.render_id, endless.bucket_name)
cancelled = ended(endless)
assert cancelled.errors[-1]["name"] == "CancelledError", cancelled.errors

print("- what is refused")
try:
    client.render_media_on_lambda(RenderMediaParams(composition="Plain", input_props={}))
    raise AssertionError("a public output is refused")
except RemotionRenderingOutputError as error:
    assert "blocks public access" in str(error), error
