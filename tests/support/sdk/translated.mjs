// Translated answers, one a line of a file, against the official SDKs for Node: each is fetched from a local server and put together
// by the SDK's own accumulator, and must say what the provider said. Run with the folder of the packages and the file.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [folder, file] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const OpenAI = require("openai").default;
const Anthropic = require("@anthropic-ai/sdk").default;

const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
const cases = lines.map((line) => JSON.parse(line)).filter((one) => one.kind !== "request");

const server = createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    const one = cases[Number(request.headers["x-case"])];
    const type = one.kind === "stream" ? "text/event-stream" : "application/json";
    response.writeHead(200, { "content-type": type });
    response.end(one.body);
  });
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const base = `http://127.0.0.1:${server.address().port}`;
const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey: "k", maxRetries: 0 });
const claude = new Anthropic({ baseURL: base, apiKey: "k", maxRetries: 0 });
const messages = [{ role: "user", content: "hello" }];

const parsed = (text) => {
  try {
    return text ? JSON.parse(text) : {};
  } catch {
    return text;
  }
};

const dialects = {
  "openai.chat": {
    whole: (options) => openai.chat.completions.create({ model: "m", messages }, options),
    stream: async (options) => {
      let thinking = "";
      const stream = openai.chat.completions.stream({ model: "m", messages }, options);
      // Of a member that it does not know the SDK keeps only the last piece, so a client adds them up itself.
      stream.on("chunk", ({ choices: [choice] }) => (thinking += choice?.delta?.reasoning_content ?? ""));
      const answer = await stream.finalChatCompletion();
      if (thinking) answer.choices[0].message.reasoning_content = thinking;
      return answer;
    },
    said: ({ choices: [{ message }] }) => [
      (message.content ?? "") + (message.refusal ?? ""),
      message.reasoning_content ?? "",
      (message.tool_calls ?? []).map((call) => [call.function.name, parsed(call.function.arguments)]),
    ],
  },
  "openai.responses": {
    whole: (options) => openai.responses.create({ model: "m", input: "hello" }, options),
    stream: (options) => openai.responses.stream({ model: "m", input: "hello" }, options).finalResponse(),
    said: ({ output }) => [
      output.filter((item) => item.type === "message").flatMap((item) => item.content)
        .map((part) => part.text ?? part.refusal).join(""),
      output.filter((item) => item.type === "reasoning").flatMap((item) => item.summary).map((part) => part.text).join(""),
      output.filter((item) => item.type === "function_call").map((item) => [item.name, parsed(item.arguments)]),
    ],
  },
  "anthropic.messages": {
    whole: (options) => claude.messages.create({ model: "m", max_tokens: 9, messages }, options),
    stream: (options) => claude.messages.stream({ model: "m", max_tokens: 9, messages }, options).finalMessage(),
    said: ({ content, stop_details }) => [
      content.filter((block) => block.type === "text").map((block) => block.text).join("") + (stop_details?.explanation ?? ""),
      content.filter((block) => block.type === "thinking").map((block) => block.thinking).join(""),
      content.filter((block) => block.type === "tool_use").map((block) => [block.name, block.input]),
    ],
  },
};

// Members of an object have no order.
const sorted = (value) =>
  value && typeof value === "object" && !Array.isArray(value)
    ? Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]))
    : Array.isArray(value) ? value.map(sorted) : value;

const wrong = [];
async function check(place) {
  const one = cases[place];
  const dialect = dialects[one.client];
  const options = { headers: { "x-case": String(place) } };
  const what = `${one.id} ${one.from} ${one.kind} ${one.client}`;
  try {
    const answer = await dialect[one.kind](options);
    if (one.fails) {
      if (answer.status !== "failed") wrong.push(`${what}: a stream that fails was taken for a whole one`);
      return;
    }
    const found = JSON.stringify(sorted(dialect.said(answer)));
    const wanted = JSON.stringify(sorted([one.text, one.thinking, one.calls]));
    if (found !== wanted) wrong.push(`${what}: ${found.slice(0, 400)} != ${wanted.slice(0, 400)}`);
  } catch (problem) {
    if (!one.fails) wrong.push(`${what}: ${problem}`);
  }
}

let next = 0;
const worker = async () => {
  while (next < cases.length) await check(next++);
};
await Promise.all(Array.from({ length: 8 }, worker));
server.closeAllConnections();
server.close();
console.log(`${cases.length} answers`);
if (wrong.length) {
  console.error(`${wrong.length} wrong:\n${wrong.sort().slice(0, 40).join("\n")}`);
  process.exit(1);
}
