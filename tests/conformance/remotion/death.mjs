// What becomes of a render whose orchestrator dies. The test that runs this kills every worker when it finds the file `begun`, and
// removes it then. The video is left as slow.mp4.
import assert from "node:assert/strict";
import {existsSync, writeFileSync} from "node:fs";
import {getAwsClient, getRenderProgress, presignUrl, renderMediaOnLambda} from "@remotion/lambda-client";
import {common, ended, place, region, step} from "./common.mjs";

const {client, sdk} = getAwsClient({region, service: "s3"});
const document = ({renderId, bucketName}) => ({Bucket: bucketName, Key: `renders/${renderId}/progress.json`});
const read = async (render) => {
  const {Body} = await client.send(new sdk.GetObjectCommand(document(render)));
  return JSON.parse(await Body.transformToString());
};
const until = async (what, holds) => {
  for (let tries = 0; !(await holds()); tries++) {
    assert.ok(tries < 1200, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

step("Lambda repeats its event, and what is rendered is taken up");
const render = await renderMediaOnLambda({...common, composition: "Slow", framesPerLambda: 10});
await until("a chunk is done", async () => (await read(render)).chunks.length > 0);
writeFileSync("begun", "");
await until("the workers are killed", () => !existsSync("begun"));
const before = await read(render);
assert.equal(before.postRenderData, null);
const done = await ended(render);
assert.equal(done.done, true);
assert.deepEqual(done.errors, []);
const after = await read(render);
assert.ok(after.functionLaunched > before.functionLaunched);
assert.deepEqual([...after.chunks].sort(), [0, 1, 2, 3, 4, 5, 6, 7], "also those whose end nobody had written down");
const first = before.timings[0];
assert.deepEqual(after.timings.filter(({chunk}) => chunk === first.chunk), [first], "it is not rendered again");
const url = await presignUrl({region, bucketName: render.bucketName, objectKey: done.outKey, expiresInSeconds: 60});
writeFileSync("slow.mp4", Buffer.from(await (await fetch(url)).arrayBuffer()));

step("one that stays dead is told, whenever it died");
const dead = async (change) => {
  const left = {...after, postRenderData: null, timeoutTimestamp: Date.now() - 200_000, ...change};
  await client.send(new sdk.PutObjectCommand({...document(render), Body: JSON.stringify(left)}));
  const progress = await getRenderProgress({...place, ...render});
  assert.equal(progress.done, false);
  assert.equal(progress.fatalErrorEncountered, true);
  assert.equal(progress.errors[0].name, "TimeoutError");
  return progress.errors[0].message;
};
// The official function says for ever that such a render goes on.
assert.match(await dead({renderMetadata: null, chunks: []}), /composition was not known/);
assert.match(await dead({chunks: [0, 1, 2, 4, 5, 6, 7]}), /Of 8 chunks 1 are missing, the first of them 3/);
assert.match(await dead({}), /the output was not written/);
