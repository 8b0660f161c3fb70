// The unmodified client of Remotion Lambda against a farm of rmx on the embedded cloud. The video is left as plain.mp4 for the
// test that runs this.
import assert from "node:assert/strict";
import {writeFileSync} from "node:fs";
import {
  LambdaClientInternals,
  cancelRenderOnLambda,
  deleteRender,
  getCompositionsOnLambda,
  getRenderProgress,
  presignUrl,
  renderMediaOnLambda,
} from "@remotion/lambda-client";
import {common, ended, invoke, keys, place, region, s3, step} from "./common.mjs";

const refused = async (options, pattern) => {
  await assert.rejects(renderMediaOnLambda({...common, composition: "Plain", ...options}), pattern);
};

step("info, byte for byte");
assert.deepEqual(await invoke({type: "info", logLevel: "info"}), {
  error: undefined,
  text: '{"version":"4.0.527","type":"success"}',
});

step("compositions");
const compositions = await getCompositionsOnLambda({...place, serveUrl: "site", inputProps: {}, envVariables: {}});
const plain = compositions.find((composition) => composition.id === "Plain");
assert.equal(plain.width, 320);
assert.equal(plain.fps, 30);
assert.equal(plain.durationInFrames, 30);
assert.deepEqual(plain.defaultProps, {});

step("a render until it is done");
const render = await renderMediaOnLambda({
  ...common,
  composition: "Plain",
  framesPerLambda: 15,
  downloadBehavior: {type: "download", fileName: "plain.mp4"},
});
assert.match(render.renderId, /^[a-z0-9]{10}$/);
const done = await ended(render);
assert.deepEqual(done.errors, []);
assert.equal(done.done, true);
assert.equal(done.overallProgress, 1);
assert.equal(done.chunks, 2);
assert.equal(done.framesRendered, 30);
assert.equal(done.encodingStatus.framesEncoded, 30);
assert.equal(done.outKey, `renders/${render.renderId}/out.mp4`);
assert.equal(done.outBucket, render.bucketName);
assert.equal(done.outputFile, `https://s3.${region}.amazonaws.com/${render.bucketName}/${done.outKey}`);
assert.equal(done.renderMetadata.type, "video");
assert.deepEqual(done.renderMetadata.frameRange, [0, 29]);
assert.deepEqual(done.renderMetadata.dimensions, {width: 320, height: 180});
assert.equal(done.renderMetadata.lambdaVersion, "4.0.527");
assert.equal(done.costs.currency, "USD");
assert.ok(done.estimatedBillingDurationInMilliseconds > 0);
assert.equal(done.mostExpensiveFrameRanges.length, 2);

step("its file");
const objectKey = done.outKey;
const url = await presignUrl({region, bucketName: render.bucketName, objectKey, expiresInSeconds: 60});
const answer = await fetch(url);
assert.equal(answer.status, 200);
assert.equal(answer.headers.get("content-disposition"), 'attachment; filename="plain.mp4"');
assert.equal(answer.headers.get("content-type"), "video/mp4");
const video = Buffer.from(await answer.arrayBuffer());
assert.equal(video.length, done.outputSizeInBytes);
writeFileSync("plain.mp4", video);

step("what it worked with is gone, and deleteRender() takes the rest");
const left = () => keys(render.bucketName, `renders/${render.renderId}/`);
// Not before it has told that the video is there.
for (let tries = 0; (await left()).length > 2; tries++) {
  assert.ok(tries < 300, `${await left()} are left`);
  await new Promise((resolve) => setTimeout(resolve, 100));
}
assert.deepEqual(await left(), ["out.mp4", "progress.json"]);
const {freedBytes} = await deleteRender({region, bucketName: render.bucketName, renderId: render.renderId});
assert.ok(freedBytes > 0);
assert.deepEqual(await left(), []);
// The client shows nothing but that the function failed; the reason is in the answer.
await assert.rejects(getRenderProgress({...place, ...render}), /Unhandled/);
const {renderId, bucketName} = render;
const gone = await invoke({type: "status", version: "4.0.527", renderId, bucketName});
assert.match(gone.text, /No render with ID/);
assert.equal(JSON.parse(gone.text).errorType, "RenderNotFound");

step("a name of its own, one frame in two, without sound, not over what is there");
const key = "renders/films/second.mkv";
const named = {
  ...common,
  composition: "Plain",
  outName: {bucketName: render.bucketName, key},
  everyNthFrame: 2,
  frameRange: [10, null],
  muted: true,
  overwrite: false,
};
const second = await ended(await renderMediaOnLambda(named));
assert.deepEqual(second.errors, []);
assert.equal(second.outKey, key);
assert.equal(second.framesRendered, 10);
const again = await ended(await renderMediaOnLambda(named));
assert.equal(again.fatalErrorEncountered, true);
assert.match(again.errors[0].message, /already exists/);
assert.equal(again.done, false);

step("a page that throws is told with its frame, once");
const threw = await ended(await renderMediaOnLambda({...common, composition: "Throws"}));
const [error] = threw.errors;
assert.equal(error.type, "renderer");
assert.equal(error.frame, 17);
assert.equal(error.isFatal, true);
assert.equal(error.s3Location, "");
assert.match(error.stack, /explode\.ts/);

step("a composition that is not there");
const unknown = await ended(await renderMediaOnLambda({...common, composition: "Plan"}));
assert.match(unknown.errors[0].message, /No composition with the ID Plan found.*Plain/);

step("one that goes by itself, by the bucket's rules");
const short = await renderMediaOnLambda({...common, composition: "Plain", frameRange: [0, 1], deleteAfter: "1-day"});
assert.match(short.renderId, /^1-day-[a-z0-9]{10}$/);
const shortly = await ended(short);
assert.deepEqual(shortly.errors, []);
assert.equal(shortly.outKey, `renders/${short.renderId}/out.mp4`);
assert.equal(shortly.renderMetadata.deleteAfter, "1-day");
const {Rules: rules} = await s3.client.send(
  new s3.sdk.GetBucketLifecycleConfigurationCommand({Bucket: short.bucketName}),
);
const found = rules.map(({ID, Status, Filter, Expiration}) => [ID, Status, Filter.Prefix, Expiration?.Days]);
for (const rule of LambdaClientInternals.getLifeCycleRules()) {
  const official = [rule.ID, rule.Status, rule.Filter?.Prefix ?? rule.Prefix, rule.Expiration.Days];
  assert.ok(found.some((ours) => JSON.stringify(ours) === JSON.stringify(official)), `${official} is in ${JSON.stringify(found)}`);
}

step("what is refused is refused in the answer to start, with what decides");
await refused({privacy: "public"}, /blocks public access.*privacy: "private"/s);
await refused({serveUrl: "elsewhere"}, /`elsewhere` is not deployed/);
await refused({outName: "a b.mp4"}, /outName/);
await refused({outName: "a.mp4", framesPerLambda: 10, concurrency: 2}, /framesPerLambda/);
await refused({forceBucketName: "another-bucket"}, /the farm's bucket/);
const elsewhere = "bucket-of-somebody-else";
await s3.client.send(new s3.sdk.CreateBucketCommand({Bucket: elsewhere}));
for (const place of [
  {bucketName: render.bucketName, key: "films/a.mp4"},
  {bucketName: elsewhere, key: "renders/a.mp4"},
]) {
  const said = new RegExp(`outName: the function's role may not write to s3://${place.bucketName}/${place.key}.*s3:PutObject.*\\[role\\] arn`, "s");
  await refused({outName: place}, said);
}
await refused({deleteAfter: "2-days"}, /deleteAfter: `2-days` is none of 1-day/);

step("another version, and what is no routine");
const other = await invoke({type: "status", version: "4.0.1", renderId: "a", bucketName: render.bucketName});
assert.equal(other.error, "Unhandled");
assert.match(other.text, /Version mismatch.*remotion_version/s);
assert.equal(JSON.parse(other.text).errorType, "InvalidRequest");
const mismatch = JSON.parse((await invoke({type: "start", version: "4.0.1"})).text);
assert.equal(mismatch.type, "error");
assert.match(mismatch.message, /^Version mismatch/);
const merge = await invoke({type: "merge"});
assert.equal(merge.error, "Unhandled");
assert.match(merge.text, /Command not found/);

step("a render that is cancelled");
const cancelled = await renderMediaOnLambda({...common, composition: "NeverReady", enableCancellation: true});
await cancelRenderOnLambda({region, bucketName: cancelled.bucketName, renderId: cancelled.renderId});
const stopped = await ended(cancelled);
assert.equal(stopped.errors.at(-1).name, "CancelledError");
assert.equal(stopped.done, false);
