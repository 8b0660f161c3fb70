// `sites create` and `sites rm` of the unmodified command line of Remotion Lambda, in a Remotion project, against a farm whose function
// and bucket have names as it gives them. The argument says what to do; the video is left as title.mp4.
import assert from "node:assert/strict";
import {spawnSync} from "node:child_process";
import {existsSync, symlinkSync, writeFileSync} from "node:fs";
import {fileURLToPath} from "node:url";
import {bucket, keys, step} from "./common.mjs";

const bin = "node_modules/.bin/remotion";
const run = (...words) => {
  const {status, stdout, stderr} = spawnSync(bin, ["lambda", ...words], {encoding: "utf8", timeout: 300_000});
  return {status, said: stdout + stderr};
};
const succeed = (...words) => {
  const {status, said} = run(...words);
  assert.equal(status, 0, `${words.join(" ")}: ${said}`);
  return said;
};
const create = () => succeed("sites", "create", "src/index.js", "--site-name=titles", "--privacy=no-acl");

if (process.argv[2] === "create") {
  writeFileSync("package.json", JSON.stringify({name: "project", private: true}));
  symlinkSync(fileURLToPath(new URL("node_modules", import.meta.url)), "node_modules");
  step("sites create");
  assert.match(create(), /titles/);
  const uploaded = await keys(bucket, "sites/titles/");
  assert.ok(["index.html", "bundle.js"].every((name) => uploaded.includes(name)), String(uploaded));
  step("sites create once more");
  create();
  assert.deepEqual(await keys(bucket, "sites/titles/"), uploaded);
  step("sites ls");
  assert.match(succeed("sites", "ls"), /titles/);
} else {
  step("compositions, render");
  assert.match(succeed("compositions", "titles"), /Title/);
  const rendered = succeed("render", "titles", "Title", "title.mp4", "--privacy=private", "--frames=0-9");
  assert.ok(existsSync("title.mp4"), rendered);
  step("sites rm");
  succeed("sites", "rm", "titles", "--yes", `--force-bucket-name=${bucket}`);
  assert.deepEqual(await keys(bucket, "sites/titles/"), []);
  const gone = run("compositions", "titles");
  assert.notEqual(gone.status, 0);
  assert.match(gone.said, /`titles` is not deployed/);
}
