// Webhooks, verified with the client's own validator. The function has little time, so that a render that never ends is told of, too.
import assert from "node:assert/strict";
import {createServer} from "node:http";
import {renderMediaOnLambda, validateWebhookSignature} from "@remotion/lambda-client";
import {common, ended, step} from "./common.mjs";

const letters = [];
let answers = [];
const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const [status, headers] = answers.shift() ?? [200];
    letters.push({url: request.url, method: request.method, headers: request.headers, raw: Buffer.concat(parts)});
    response.writeHead(status, headers).end();
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const address = `http://127.0.0.1:${server.address().port}`;
const secret = "tell nobody";

// The letters of a render, once there are so many of them.
const told = async (count) => {
  for (let tries = 0; letters.length < count; tries++) {
    assert.ok(tries < 600, `${letters.length} of ${count} letters`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return letters.splice(0, count);
};

const verified = ({headers, raw}) => {
  assert.equal(Number(headers["content-length"]), raw.length);
  assert.equal(headers["content-type"], "application/json");
  assert.equal(headers["x-remotion-mode"], "production");
  const body = JSON.parse(raw);
  assert.equal(raw.toString(), JSON.stringify(body));
  validateWebhookSignature({secret, body, signatureHeader: headers["x-remotion-signature"]});
  assert.equal(headers["x-remotion-status"], body.type);
  return body;
};

step("success, at the second try, with data of every kind");
answers = [[500]];
const customData = {title: "Été 🎬\u2028", 10: 1e21, 9: 1e-7, list: [1.5, -0, null, {"": true}], "\u0001": "\\"};
const render = await renderMediaOnLambda({...common, composition: "Plain", webhook: {url: address, secret, customData}});
const done = await ended(render);
const [first, second] = await told(2);
assert.deepEqual(first.raw, second.raw);
const {type, renderId, bucketName, expectedBucketOwner, customData: data, costs, ...rest} = verified(second);
assert.deepEqual({type, renderId, bucketName}, {type: "success", renderId: render.renderId, bucketName: render.bucketName});
assert.match(expectedBucketOwner, /^\d{12}$/);
assert.deepEqual(data, JSON.parse(JSON.stringify(customData)));
assert.deepEqual(Object.keys(costs), ["currency", "disclaimer", "estimatedCost", "estimatedDisplayCost"]);
assert.deepEqual(rest, {
  outputUrl: done.outputFile,
  lambdaErrors: [],
  outputFile: done.outputFile,
  timeToFinish: done.timeToFinish,
});

step("an error, behind a redirect, to one who has no secret");
answers = [[307, {location: "/there"}]];
await ended(await renderMediaOnLambda({...common, composition: "Throws", webhook: {url: address, secret: null}}));
const [moved, there] = await told(2);
assert.equal(there.url, "/there");
assert.equal(there.method, "POST");
assert.deepEqual(moved.raw, there.raw);
assert.equal(there.headers["x-remotion-signature"], "NO_SECRET_PROVIDED");
assert.equal(there.headers["x-remotion-status"], "error");
const failure = JSON.parse(there.raw);
assert.equal(failure.customData, null);
assert.equal(failure.errors.length, 1);
assert.match(failure.errors[0].message, /no such slide/);
assert.match(failure.errors[0].stack, /explode\.ts/);

step("a render that has no time left: the official function says so nowhere but here");
const endless = {...common, composition: "NeverReady", timeoutInMilliseconds: 120000, webhook: {url: address, secret}};
const late = await ended(await renderMediaOnLambda(endless));
assert.equal(late.fatalErrorEncountered, true);
assert.equal(late.errors.at(-1).name, "TimeoutError");
assert.match(late.errors.at(-1).message, /timeout_s/);
const [timeout] = await told(1);
assert.equal(verified(timeout).type, "timeout");

step("a receiver that is not there is told in the render's errors, and the render is done");
const deaf = await renderMediaOnLambda({...common, composition: "Plain", webhook: {url: "http://127.0.0.1:1/", secret}});
let progress = await ended(deaf);
for (let tries = 0; progress.errors.length === 0; tries++) {
  assert.ok(tries < 100, "the error is not told");
  await new Promise((resolve) => setTimeout(resolve, 200));
  progress = await ended(deaf);
}
assert.equal(progress.done, true);
assert.equal(progress.fatalErrorEncountered, false);
assert.equal(progress.errors[0].type, "webhook");
assert.equal(progress.errors[0].isFatal, false);

step("what cannot be told is refused");
const refused = (webhook, pattern) => assert.rejects(renderMediaOnLambda({...common, composition: "Plain", webhook}), pattern);
await refused({url: "ftp://127.0.0.1/", secret}, /webhook: url: ftp/);
server.close();
