// renderStillOnLambda() of the unmodified client. Images are left as still.png and last.jpeg.
import assert from "node:assert/strict";
import {writeFileSync} from "node:fs";
import {deleteRender, getAwsClient, getRenderProgress, presignUrl, renderStillOnLambda} from "@remotion/lambda-client";
import {functionName, invoke, keys, place, region, step} from "./common.mjs";

const common = {...place, serveUrl: "site", composition: "Plain", inputProps: {}, imageFormat: "png", privacy: "private"};

const download = async ({bucketName, outKey}, name) => {
  const url = await presignUrl({region, bucketName, objectKey: outKey, expiresInSeconds: 60});
  const answer = await fetch(url);
  assert.equal(answer.status, 200);
  const image = Buffer.from(await answer.arrayBuffer());
  writeFileSync(name, image);
  return {image, headers: answer.headers};
};

step("a frame, whose id is known first");
let begun;
const still = await renderStillOnLambda({...common, frame: 5, onInit: ({renderId}) => (begun = renderId)});
assert.match(still.renderId, /^[a-z0-9]{10}$/);
assert.equal(begun, still.renderId);
assert.equal(still.outKey, `renders/${still.renderId}/out.png`);
assert.equal(still.url, `https://s3.${region}.amazonaws.com/${still.bucketName}/${still.outKey}`);
assert.equal(still.estimatedPrice.currency, "USD");
assert.deepEqual(still.artifacts, []);
const png = await download(still, "still.png");
assert.equal(png.image.length, still.sizeInBytes);
assert.equal(png.headers.get("content-type"), "image/png");

step("its document, with which clients remove it");
const prefix = `renders/${still.renderId}/`;
assert.deepEqual(await keys(still.bucketName, prefix), ["out.png", "progress.json"]);
await assert.rejects(getRenderProgress({...place, renderId: still.renderId, bucketName: still.bucketName}), /Unhandled/);
const {freedBytes} = await deleteRender({region, bucketName: still.bucketName, renderId: still.renderId});
assert.ok(freedBytes > 0);
assert.deepEqual(await keys(still.bucketName, prefix), []);

step("the last frame, as a JPEG with a name of its own");
const last = await renderStillOnLambda({
  ...common,
  frame: -1,
  imageFormat: "jpeg",
  outName: "last.jpeg",
  downloadBehavior: {type: "download", fileName: "é.jpeg"},
});
assert.equal(last.outKey, `renders/${last.renderId}/last.jpeg`);
const {headers} = await download(last, "last.jpeg");
assert.equal(headers.get("content-type"), "image/jpeg");
assert.equal(headers.get("content-disposition"), 'attachment; filename="%C3%A9.jpeg"');

step("what goes wrong is told");
await assert.rejects(renderStillOnLambda({...common, composition: "Throws", frame: 17}), /no such slide: 17[^]*explode\.ts/);
await assert.rejects(renderStillOnLambda({...common, composition: "Plan"}), /No composition with the ID Plan found/);
await assert.rejects(renderStillOnLambda({...common, frame: 30}), /frame 30/);
await assert.rejects(renderStillOnLambda({...common, privacy: "public"}), /blocks public access/);
await assert.rejects(renderStillOnLambda({...common, imageFormat: "gif"}), /imageFormat/);
const outside = {bucketName: still.bucketName, key: "images/still.png"};
await assert.rejects(renderStillOnLambda({...common, outName: outside}), /outName: the function's role may not write to/);

step("the stream, byte for byte");
const {client, sdk} = getAwsClient({region, service: "lambda"});
const streamed = async (payload) => {
  const command = new sdk.InvokeWithResponseStreamCommand({FunctionName: functionName, Payload: JSON.stringify(payload)});
  const parts = [];
  for await (const event of (await client.send(command)).EventStream) {
    parts.push(Buffer.from(event.PayloadChunk?.Payload ?? []));
    assert.equal(event.InvokeComplete?.ErrorCode, undefined);
  }
  return Buffer.concat(parts).toString();
};
const payload = {
  type: "still",
  version: "4.0.527",
  serveUrl: "site",
  composition: "Plain",
  inputProps: {type: "payload", payload: "{}"},
  imageFormat: "png",
  privacy: "private",
  streamed: true,
};
const stream = await streamed(payload);
const parts = stream.match(/^.*?remotion_buffer:3:25:0:(\{"renderId":"[a-z0-9]{10}"\})remotion_buffer:6:(\d+):0:(\{.*\})$/s);
assert.ok(parts, stream);
assert.equal(Number(parts[2]), Buffer.byteLength(parts[3]));
assert.deepEqual(Object.keys(JSON.parse(parts[3])), [
  "type",
  "output",
  "outKey",
  "size",
  "sizeInBytes",
  "bucketName",
  "estimatedPrice",
  "renderId",
  "receivedArtifacts",
]);
assert.match(await streamed({...payload, version: "4.0.1"}), /remotion_buffer:2:\d+:0:\{"error":"Error: Version mismatch/);

step("one answer, for clients that do not listen");
const answer = JSON.parse((await invoke({...payload, streamed: false})).text);
assert.equal(answer.type, "success");
const refused = JSON.parse((await invoke({...payload, streamed: false, composition: "Plan"})).text);
assert.equal(refused.type, "error");
assert.match(refused.message, /No composition/);
