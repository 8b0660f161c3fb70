// What AWS's Node.js runtimes are around a function: a client of the Runtime API (version 2018-06-01), handlers as CommonJS or ES
// modules, streamed answers. Written from the developer guide: "Runtime API", "Response streaming", "Node.js context object".
"use strict";
const http = require("node:http");
const path = require("node:path");
const {existsSync} = require("node:fs");
const {Writable} = require("node:stream");
const {pathToFileURL} = require("node:url");
const {format} = require("node:util");

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({keepAlive: true});
const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
let requestId;

const request = (method, below, headers = {}) =>
  http.request({hostname, port, agent, method, path: `/2018-06-01/runtime/${below}`, headers});

const answered = (sent) =>
  new Promise((resolve, reject) => {
    sent.on("error", reject);
    sent.on("response", (answer) => {
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("error", reject);
      answer.on("end", () => resolve({status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks)}));
    });
  });

const send = (method, below, body, headers) => {
  const sent = request(method, below, {...headers, "Content-Length": Buffer.byteLength(body)});
  const answer = answered(sent);
  sent.end(body);
  return answer;
};

const described = (error, type) => {
  const known = error instanceof Error;
  return {
    errorType: type ?? (known ? error.name : typeof error),
    errorMessage: known ? error.message : String(error),
    trace: known && error.stack ? error.stack.split("\n") : [],
  };
};

const report = (below, document) =>
  send("POST", below, JSON.stringify(document), {
    "Content-Type": "application/json",
    "Lambda-Runtime-Function-Error-Type": document.errorType,
  });

// The end of the process is the end of its environment.
const fatal = async (error, type, code) => {
  const document = described(error, type);
  console.error(JSON.stringify(document));
  try {
    await report(requestId ? `invocation/${requestId}/error` : "init/error", document);
  } finally {
    process.exit(code);
  }
};
process.on("uncaughtException", (error) => fatal(error, undefined, 129));
process.on("unhandledRejection", (error) => fatal(error, "Runtime.UnhandledPromiseRejection", 128));

for (const [method, level] of [["log", "INFO"], ["info", "INFO"], ["debug", "DEBUG"], ["warn", "WARN"], ["error", "ERROR"], ["trace", "TRACE"]]) {
  console[method] = (...parts) => {
    // A line of the log is what one call has written, as on Lambda: line breaks within it are carriage returns.
    const text = format(...parts).replaceAll("\n", "\r");
    process.stdout.write(`${new Date().toISOString()}\t${requestId ?? "undefined"}\t${level}\t${text}\n`);
  };
}

// What a handler writes its answer to. Nothing is sent before its first byte, so that what fails until then is an error.
class ResponseStream extends Writable {
  #id;
  #type = "application/octet-stream";
  #sent;
  #answer;

  constructor(id) {
    super();
    this.#id = id;
  }

  get begun() {
    return this.#sent !== undefined;
  }

  setContentType(type) {
    if (this.begun) throw new Error("the content type cannot be set once something has been written");
    this.#type = type;
  }

  #begin() {
    if (this.begun) return;
    this.#sent = request("POST", `invocation/${this.#id}/response`, {
      "Content-Type": this.#type,
      "Lambda-Runtime-Function-Response-Mode": "streaming",
      "Transfer-Encoding": "chunked",
      Trailer: ["Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Error-Body"],
    });
    this.#answer = answered(this.#sent);
    this.#answer.catch((error) => this.destroy(error));
  }

  _write(chunk, _encoding, done) {
    this.#begin();
    this.#sent.write(chunk, done);
  }

  _final(done) {
    this.#begin();
    this.#sent.end();
    this.#answer.then(() => done(), done);
  }

  // What fails in the middle is told behind what has been written.
  async fail(document) {
    this.#sent.addTrailers({
      "Lambda-Runtime-Function-Error-Type": document.errorType,
      "Lambda-Runtime-Function-Error-Body": Buffer.from(JSON.stringify(document)).toString("base64"),
    });
    this.#sent.end();
    await this.#answer;
  }
}

globalThis.awslambda = {
  ...globalThis.awslambda,
  streamifyResponse(handler, options) {
    handler[STREAMING] = options ?? true;
    return handler;
  },
  HttpResponseStream: {
    // The metadata as JSON, eight bytes of zero, then the body.
    from(stream, metadata) {
      stream.setContentType("application/vnd.awslambda.http-integration-response");
      stream.write(JSON.stringify(metadata ?? {}));
      stream.write(new Uint8Array(8));
      return stream;
    },
  },
};

const load = async () => {
  const name = process.env._HANDLER;
  const folder = path.dirname(name);
  const [file, ...exported] = path.basename(name).split(".");
  const base = path.resolve(process.env.LAMBDA_TASK_ROOT, folder, file);
  const found = ["", ".js", ".mjs", ".cjs"].map((ending) => base + ending).find((one) => existsSync(one));
  if (exported.length === 0 || found === undefined) {
    throw Object.assign(new Error(`Cannot find module '${file}' of the handler ${name}`), {name: "Runtime.ImportModuleError"});
  }
  let module;
  try {
    module = found.endsWith(".mjs") ? await import(pathToFileURL(found)) : require(found);
  } catch (error) {
    if (error?.code !== "ERR_REQUIRE_ESM") throw error;
    module = await import(pathToFileURL(found));
  }
  const handler = exported.reduce((from, key) => from?.[key], module);
  if (typeof handler !== "function") {
    throw Object.assign(new Error(`${name} is undefined or not exported`), {name: "Runtime.HandlerNotFound"});
  }
  return handler;
};

const contextOf = (headers) => {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const client = headers["lambda-runtime-client-context"];
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: requestId,
    clientContext: client === undefined ? undefined : JSON.parse(client),
    identity: undefined,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
};

const streamed = async (handler, event, context) => {
  const id = requestId;
  const stream = new ResponseStream(id);
  const over = new Promise((resolve, reject) => stream.on("finish", resolve).on("error", reject));
  // It may fail before anybody waits for it.
  over.catch(() => {});
  try {
    await handler(event, stream, context);
    await over;
  } catch (error) {
    const document = described(error);
    console.error("Invoke Error", JSON.stringify(document));
    await (stream.begun ? stream.fail(document) : report(`invocation/${id}/error`, document));
  }
};

const whole = async (handler, event, context) => {
  const id = requestId;
  try {
    const result = await handler(event, context);
    await send("POST", `invocation/${id}/response`, JSON.stringify(result) ?? "null", {"Content-Type": "application/json"});
  } catch (error) {
    const document = described(error);
    console.error("Invoke Error", JSON.stringify(document));
    await report(`invocation/${id}/error`, document);
  }
};

const main = async () => {
  let handler;
  try {
    handler = await load();
  } catch (error) {
    await fatal(error, error?.name, 1);
  }
  for (;;) {
    const {status, headers, body} = await answered(request("GET", "invocation/next").end());
    // The environment is being ended.
    if (status !== 200) process.exit(0);
    requestId = headers["lambda-runtime-aws-request-id"];
    process.env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"] ?? "";
    const event = JSON.parse(body);
    await (handler[STREAMING] ? streamed : whole)(handler, event, contextOf(headers));
    requestId = undefined;
  }
};
main();
