// Remotion's own deploy puts Remotion's own function on the embedded cloud, and Remotion's own client renders with it: nothing of rmx's
// worker takes part. The video is left as official.mp4 for the test that runs this.
import assert from "node:assert/strict";
import {createReadStream, writeFileSync} from "node:fs";
import {createServer} from "node:http";
import {extname, join} from "node:path";
import {deployFunction, getFunctions, getRolePolicy} from "@remotion/lambda";
import {getAwsClient, getRenderProgress, presignUrl, renderMediaOnLambda} from "@remotion/lambda-client";

const {AWS_REGION: region, SITE: site, COMPOSITION: composition} = process.env;
const step = (text) => console.error(`- ${text}`);
const bucketName = "remotionlambda-useast1-abcdefghij";

step("what users make by hand, or let Remotion make: a role and a bucket");
const iam = getAwsClient({region, service: "iam"});
const trust = {Version: "2012-10-17", Statement: [{Effect: "Allow", Action: "sts:AssumeRole", Principal: {Service: "lambda.amazonaws.com"}}]};
await iam.client.send(
  new iam.sdk.CreateRoleCommand({RoleName: "remotion-lambda-role", AssumeRolePolicyDocument: JSON.stringify(trust)}),
);
await iam.client.send(
  new iam.sdk.PutRolePolicyCommand({
    RoleName: "remotion-lambda-role",
    PolicyName: "remotion-lambda-policy",
    PolicyDocument: getRolePolicy(),
  }),
);
const s3 = getAwsClient({region, service: "s3"});
await s3.client.send(new s3.sdk.CreateBucketCommand({Bucket: bucketName}));

step("deployFunction()");
const {functionName} = await deployFunction({
  region,
  memorySizeInMb: 2048,
  diskSizeInMb: 2048,
  timeoutInSeconds: 240,
  createCloudWatchLogGroup: true,
});
assert.equal(functionName, "remotion-render-4-0-527-mem2048mb-disk2048mb-240sec");
const [found] = await getFunctions({region, compatibleOnly: true});
assert.equal(found.functionName, functionName);
assert.equal(found.version, "4.0.527");

// Its browser fetches the site without credentials, so the site is served as any on the web.
const types = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"};
const server = createServer((request, response) => {
  const path = new URL(request.url, "http://localhost").pathname;
  const file = createReadStream(join(site, path === "/" ? "index.html" : path));
  file.on("open", () => response.setHeader("Content-Type", types[extname(path)] ?? "application/octet-stream"));
  file.on("error", () => response.writeHead(404).end());
  file.pipe(response);
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));

step("a render until it is done");
const place = {region, functionName};
const render = await renderMediaOnLambda({
  ...place,
  serveUrl: `http://127.0.0.1:${server.address().port}/index.html`,
  composition,
  codec: "h264",
  privacy: "private",
  frameRange: [0, 19],
  framesPerLambda: 10,
  forceBucketName: bucketName,
});
let progress;
for (let tries = 0; !progress?.done; tries++) {
  assert.ok(tries < 900, "the render does not end");
  await new Promise((resolve) => setTimeout(resolve, 200));
  progress = await getRenderProgress({...place, ...render});
  assert.deepEqual(progress.errors.filter((error) => error.isFatal).map((error) => error.stack), []);
}
assert.equal(progress.framesRendered, 20);
assert.equal(progress.chunks, 2);

step("its file");
const url = await presignUrl({region, bucketName, objectKey: progress.outKey, expiresInSeconds: 60});
const video = Buffer.from(await (await fetch(url)).arrayBuffer());
assert.equal(video.length, progress.outputSizeInBytes);
writeFileSync("official.mp4", video);
// The warm browsers keep connections open.
server.close();
server.closeAllConnections();
