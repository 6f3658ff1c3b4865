// The official SDKs for Node of Google, OpenAI and Anthropic as clients of a running gateway, before a Gemini and an Anthropic provider:
// each answer is asked for twice, and the second, which is a kept one, is parsed to the same. Run with the folder of the packages and the
// gateway's address; prints how many different calls were made.

import { createRequire } from "node:module";
import { deepStrictEqual as same, rejects } from "node:assert";

const [folder, base] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const OpenAI = require("openai").default;
const Anthropic = require("@anthropic-ai/sdk").default;
const { GoogleGenAI } = require("@google/genai");

const key = "tg-acme";
const google = new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: base } });
const chat = new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: 0 });
const claude = new Anthropic({ baseURL: base, apiKey: key, maxRetries: 0 });
const messages = [{ role: "user", content: "hello" }];
const wanted = ["Hello there, friend.", "get_weather", { city: "Paris" }];

const gemini = (answer) => {
  const [call] = answer.functionCalls;
  same([answer.usageMetadata.promptTokenCount, answer.usageMetadata.thoughtsTokenCount], [7, 3]);
  return [answer.candidates[0].content.parts.map((part) => part.text ?? "").join(""), call.name, call.args];
};
const geminiStream = async (model) => {
  let text = "", call, usage;
  for await (const chunk of await google.models.generateContentStream({ model, contents: "hello" })) {
    text += (chunk.candidates[0].content.parts ?? []).map((part) => part.text ?? "").join("");
    call = chunk.functionCalls?.[0] ?? call;
    usage = chunk.usageMetadata ?? usage;
  }
  same(usage.candidatesTokenCount, 9);
  return [text, call.name, call.args];
};
const completed = ({ choices: [{ message, finish_reason }], usage }) => {
  same([finish_reason, usage.prompt_tokens], ["tool_calls", 7]);
  const [{ function: call }] = message.tool_calls;
  return [message.content, call.name, JSON.parse(call.arguments)];
};
const responded = ({ output, status, usage }) => {
  same([status, usage.input_tokens], ["completed", 7]);
  const call = output.find((item) => item.type === "function_call");
  const text = output.filter((item) => item.type === "message").flatMap((item) => item.content).map((part) => part.text).join("");
  return [text, call.name, JSON.parse(call.arguments)];
};
const messaged = ({ content, stop_reason, usage }) => {
  same([stop_reason, usage.input_tokens], ["tool_use", 7]);
  const call = content.find((block) => block.type === "tool_use");
  return [content.filter((block) => block.type === "text").map((block) => block.text).join(""), call.name, call.input];
};
const of = (model) => [
  async () => completed(await chat.chat.completions.create({ model, messages })),
  async () =>
    completed(await chat.chat.completions.stream({ model, messages, stream_options: { include_usage: true } }).finalChatCompletion()),
  async () => responded(await chat.responses.create({ model, input: "hello", store: false })),
  async () => responded(await chat.responses.stream({ model, input: "hello", store: false }).finalResponse()),
  async () => messaged(await claude.messages.create({ model, max_tokens: 99, messages })),
  async () => messaged(await claude.messages.stream({ model, max_tokens: 99, messages }).finalMessage()),
];
const calls = [
  async () => gemini(await google.models.generateContent({ model: "gemini-2.5-flash", contents: "hello" })),
  () => geminiStream("gemini-2.5-flash"),
  ...of("gemini-2.5-flash"),
  ...of("claude-sonnet-4-5"),
];
for (const call of calls) {
  same(await call(), wanted);
  same(await call(), wanted);
}

same((await google.models.countTokens({ model: "gemini-2.5-flash", contents: "hello" })).totalTokens, 7);
const embedded = await google.models.embedContent({ model: "gemini-embedding-001", contents: "hello" });
same(embedded.embeddings[0].values, [0.5, 0.25]);
await rejects(google.models.generateContent({ model: "nobody", contents: "hello" }), (error) => error.status === 404 && /TG3006/.test(error.message));
const wrong = new GoogleGenAI({ apiKey: "wrong", httpOptions: { baseUrl: base } });
await rejects(wrong.models.countTokens({ model: "gemini-2.5-flash", contents: "x" }), (error) => error.status === 401);
console.log(calls.length);
