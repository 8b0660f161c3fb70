// Props that are too large for an event: the client leaves them in the bucket. The video is left as echo.mp4.
import assert from "node:assert/strict";
import {writeFileSync} from "node:fs";
import {presignUrl, renderMediaOnLambda} from "@remotion/lambda-client";
import {bucket, common, ended, keys, region, step} from "./common.mjs";

// The client spills what has more than 193976 characters.
const large = {...common, forceBucketName: bucket, inputProps: {text: "é".repeat(5 << 16)}};
const spilled = () => keys(bucket, "input-props/");
// The document tells of the end before what is left is cleared away.
const cleared = async () => {
  for (let tries = 0; tries < 100 && (await spilled()).length > 0; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual(await spilled(), []);
};

step("large props reach the page, and go when the render has ended");
const done = await ended(await renderMediaOnLambda({...large, composition: "Echo"}));
assert.deepEqual(done.errors, []);
assert.equal(done.renderMetadata.inputProps.type, "bucket-url");
await cleared();
const url = await presignUrl({region, bucketName: bucket, objectKey: done.outKey, expiresInSeconds: 60});
writeFileSync("echo.mp4", Buffer.from(await (await fetch(url)).arrayBuffer()));

step("they go after a failure, too");
const threw = await ended(await renderMediaOnLambda({...large, composition: "Throws"}));
assert.equal(threw.fatalErrorEncountered, true);
await cleared();

step("and where nothing was begun");
await assert.rejects(renderMediaOnLambda({...large, composition: "Echo", privacy: "public"}), /blocks public access/);
assert.deepEqual(await spilled(), []);
