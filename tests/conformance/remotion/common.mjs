// What all scripts beside this one begin with: the farm's place, and how to wait for a render's end.
import assert from "node:assert/strict";
import {getAwsClient, getRenderProgress} from "@remotion/lambda-client";

export const region = process.env.AWS_REGION;
export const functionName = process.env.FUNCTION;
export const bucket = process.env.BUCKET;
export const place = {region, functionName};
export const common = {...place, serveUrl: "site", codec: "h264", privacy: "private"};

export const step = (text) => console.error(`- ${text}`);

const {client, sdk} = getAwsClient({region, service: "lambda"});
export const invoke = async (payload) => {
  const reply = await client.send(
    new sdk.InvokeCommand({FunctionName: functionName, Payload: JSON.stringify(payload)}),
  );
  return {error: reply.FunctionError, text: Buffer.from(reply.Payload).toString()};
};

// Until it is done, or has failed.
export const ended = async ({renderId, bucketName}) => {
  let before = 0;
  for (let tries = 0; tries < 900; tries++) {
    const progress = await getRenderProgress({...place, renderId, bucketName});
    assert.equal(progress.type, "success");
    assert.equal(progress.renderId, renderId);
    assert.ok(progress.overallProgress >= before, "progress never falls");
    before = progress.overallProgress;
    if (progress.done || progress.fatalErrorEncountered) {
      return progress;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error("the render does not end");
};

export const s3 = getAwsClient({region, service: "s3"});
// The keys below a prefix, without it.
export const keys = async (Bucket, Prefix) => {
  const listed = await s3.client.send(new s3.sdk.ListObjectsV2Command({Bucket, Prefix}));
  return (listed.Contents ?? []).map(({Key}) => Key.slice(Prefix.length));
};
