// The unmodified command line of Remotion Lambda against a farm whose function and bucket have names as it gives them. The video is
// left as cli.mp4, the image as cli.png.
import assert from "node:assert/strict";
import {spawnSync} from "node:child_process";
import {existsSync, symlinkSync, writeFileSync} from "node:fs";
import {fileURLToPath} from "node:url";
import {step} from "./common.mjs";

const {FUNCTION, BUCKET} = process.env;
// It wants to be in a project that has it installed.
writeFileSync("package.json", JSON.stringify({name: "project", private: true}));
symlinkSync(fileURLToPath(new URL("node_modules", import.meta.url)), "node_modules");
const bin = "node_modules/.bin/remotion";
const run = (...words) => {
  const {status, stdout, stderr} = spawnSync(bin, ["lambda", ...words], {encoding: "utf8", timeout: 180_000});
  return {status, said: stdout + stderr};
};
const succeed = (...words) => {
  const {status, said} = run(...words);
  assert.equal(status, 0, `${words.join(" ")}: ${said}`);
  return said;
};

step("functions ls");
const functions = succeed("functions", "ls");
assert.ok(functions.includes(FUNCTION), functions);
assert.match(functions, /4\.0\.527/);
assert.equal(succeed("functions", "ls", "-q").trim().split("\n").at(-1), FUNCTION);

step("sites ls");
const sites = succeed("sites", "ls");
assert.match(sites, /site/);
assert.ok(sites.includes(BUCKET), sites);

step("compositions");
const compositions = succeed("compositions", "site");
assert.match(compositions, /Plain/);

step("render, followed and downloaded");
const rendered = succeed("render", "site", "Plain", "cli.mp4", "--privacy=private", "--frames=0-9");
assert.ok(existsSync("cli.mp4"), rendered);

step("still");
succeed("still", "site", "Plain", "cli.png", "--privacy=private", "--frame=5");
assert.ok(existsSync("cli.png"));

step("one that goes by itself");
assert.match(succeed("render", "site", "Plain", "--privacy=no-acl", "--frames=0", "--delete-after=3-days"), /renders\/3-days-/);

step("policies validate");
assert.match(succeed("policies", "validate"), /lambda:InvokeFunction/);

step("quotas, which are the account's");
assert.match(succeed("quotas"), /Concurrency limit: 1000 - .*Increase recommended/);
assert.match(succeed("quotas", "increase", "--yes"), /from 1000 to 5000[^]*Requested increase successfully/);

step("what goes wrong is said");
const unknown = run("render", "site", "Plan", "--privacy=private");
assert.notEqual(unknown.status, 0);
assert.match(unknown.said, /No composition with the ID Plan found/);
const open = run("render", "site", "Plain");
assert.notEqual(open.status, 0);
assert.match(open.said, /blocks public access/);
