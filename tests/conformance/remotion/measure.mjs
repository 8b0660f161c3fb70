// One render by the official client on any function, measured: called by scripts/bench/farm, which reads the one line of JSON on standard
// output. Billed is what Lambda's REPORT lines say of all invocations of the render, start, orchestrator and workers alike. The client
// asks the bucket for progress and not the function, so that its questions are no part of that.
import assert from "node:assert/strict";
import {writeFileSync} from "node:fs";
import {CloudWatchLogsClient, FilterLogEventsCommand} from "@aws-sdk/client-cloudwatch-logs";
import {getRenderProgress, presignUrl, renderMediaOnLambda} from "@remotion/lambda-client";

const {AWS_REGION: region, FUNCTION: functionName, BUCKET: bucketName, SERVE_URL: serveUrl} = process.env;
const {COMPOSITION: composition, LAST_FRAME, FRAMES_PER_LAMBDA, OUT} = process.env;
const place = {region, functionName};
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const begun = Date.now();
const render = await renderMediaOnLambda({
  ...place,
  serveUrl,
  composition,
  codec: "h264",
  privacy: "private",
  frameRange: [0, Number(LAST_FRAME)],
  framesPerLambda: Number(FRAMES_PER_LAMBDA),
  forceBucketName: bucketName,
});
let progress;
for (let tries = 0; !progress?.done; tries++) {
  assert.ok(tries < 12000, "the render does not end");
  await pause(50);
  progress = await getRenderProgress({...place, ...render, skipLambdaInvocation: true});
  assert.ok(!progress.fatalErrorEncountered, JSON.stringify(progress.errors));
}
const wall = Date.now() - begun;
const url = await presignUrl({region, bucketName, objectKey: progress.outKey, expiresInSeconds: 60});
writeFileSync(OUT, Buffer.from(await (await fetch(url)).arrayBuffer()));

// The orchestrator goes on for a moment when the render is done.
const logs = new CloudWatchLogsClient({region});
const lines = async () => {
  const found = [];
  let nextToken;
  do {
    const filter = {logGroupName: `/aws/lambda/${functionName}`, startTime: begun, nextToken};
    const page = await logs.send(new FilterLogEventsCommand(filter));
    found.push(...(page.events ?? []).map((event) => event.message));
    nextToken = page.nextToken;
  } while (nextToken);
  return found;
};
for (let tries = 0; ; tries++) {
  assert.ok(tries < 300, "an invocation does not end");
  const all = await lines();
  const reports = all.filter((line) => line.startsWith("REPORT "));
  if (reports.length >= 2 && reports.length === all.filter((line) => line.startsWith("START ")).length) {
    const each_ms = reports.map((line) => Number(line.match(/Billed Duration: (\d+) ms/)[1]));
    const billed_ms = each_ms.reduce((sum, one) => sum + one, 0);
    console.log(JSON.stringify({wall_ms: wall, billed_ms, each_ms, chunks: progress.chunks}));
    break;
  }
  await pause(100);
}
