// What the documentation of Remotion Lambda has people do: a role, `functions deploy`, `sites create`; with the unmodified command line.
import assert from "node:assert/strict";
import {spawnSync} from "node:child_process";
import {symlinkSync, writeFileSync} from "node:fs";
import {fileURLToPath} from "node:url";
import {getAwsClient} from "@remotion/lambda-client";
import {region, step} from "./common.mjs";

writeFileSync("package.json", JSON.stringify({name: "project", private: true}));
symlinkSync(fileURLToPath(new URL("node_modules", import.meta.url)), "node_modules");
const succeed = (...words) => {
  const {status, stdout, stderr} = spawnSync("node_modules/.bin/remotion", ["lambda", ...words], {
    encoding: "utf8",
    timeout: 300_000,
  });
  assert.equal(status, 0, `${words.join(" ")}: ${stdout}${stderr}`);
  return stdout;
};

step("the role");
const {client, sdk} = getAwsClient({region, service: "iam"});
const RoleName = "remotion-lambda-role";
const trust = {
  Version: "2012-10-17",
  Statement: [{Effect: "Allow", Principal: {Service: "lambda.amazonaws.com"}, Action: "sts:AssumeRole"}],
};
await client.send(new sdk.CreateRoleCommand({RoleName, AssumeRolePolicyDocument: JSON.stringify(trust)}));
const PolicyDocument = succeed("policies", "role");
await client.send(new sdk.PutRolePolicyCommand({RoleName, PolicyName: "remotion-lambda-policy", PolicyDocument}));

step("functions deploy");
assert.match(succeed("functions", "deploy", "--memory=2048", "--disk=2048", "--timeout=240"), /remotion-render-4-0-527/);

step("sites create");
// The embedded cloud keeps no public ACL.
succeed("sites", "create", "src/index.js", "--site-name=titles", "--privacy=no-acl");
