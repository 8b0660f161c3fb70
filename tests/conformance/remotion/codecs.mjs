// Every codec once: ten frames, and what is heard of them. The files are left as NAME.ENDING.
import assert from "node:assert/strict";
import {writeFileSync} from "node:fs";
import {presignUrl, renderMediaOnLambda} from "@remotion/lambda-client";
import {common, ended, region, step} from "./common.mjs";

const image = {imageFormat: "jpeg"};
const sound = {imageFormat: "none"};
const kinds = [
  ["h264", "mp4", image],
  ["h264", "mkv", {...image, audioCodec: "pcm-16"}],
  ["h265", "mp4", image],
  ["vp8", "webm", image],
  ["vp9", "webm", image],
  ["prores", "mov", {...image, proResProfile: "light"}],
  ["gif", "gif", {...image, numberOfGifLoops: 2}],
  ["mp3", "mp3", sound],
  ["aac", "aac", sound],
  ["wav", "wav", sound],
];
for (const [codec, ending, options] of kinds) {
  step(`${codec} in .${ending}`);
  const render = await renderMediaOnLambda({...common, composition: "Plain", frameRange: [0, 9], codec, ...options});
  const done = await ended(render);
  assert.deepEqual(done.errors, []);
  assert.equal(done.outKey, `renders/${render.renderId}/out.${ending}`);
  assert.equal(done.renderMetadata.codec, codec);
  const url = await presignUrl({region, bucketName: render.bucketName, objectKey: done.outKey, expiresInSeconds: 60});
  writeFileSync(`${codec}.${ending}`, Buffer.from(await (await fetch(url)).arrayBuffer()));
}
