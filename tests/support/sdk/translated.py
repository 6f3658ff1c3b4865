"""Translated answers and requests, one a line of a file, against the official SDKs: strict types for what is whole, the SDK's own
accumulator, fed by a local server, for what is streamed. What it puts together must say what the provider said."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import anthropic.types
import botocore.session
import botocore.validate
import cohere
import openai
import openai.types.chat
import openai.types.responses
import pydantic
from google.genai import types as gemini

cases = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        case = cases[int(self.headers["x-case"])]
        body = case["body"].encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if case["kind"] == "stream" else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"
client = openai.OpenAI(base_url=f"{base}/v1", api_key="k", max_retries=0)
claude = anthropic.Anthropic(base_url=base, api_key="k", max_retries=0)
question = [{"role": "user", "content": "hello"}]


def arguments(text):
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return text


def said_chat(answer):
    message = answer.choices[0].message
    calls = [[call.function.name, arguments(call.function.arguments)] for call in message.tool_calls or []]
    return (message.content or "") + (message.refusal or ""), getattr(message, "reasoning_content", None) or "", calls


def said_response(answer):
    text, thinking, calls = "", "", []
    for item in answer.output:
        if item.type == "message":
            text += "".join(part.text if part.type == "output_text" else part.refusal for part in item.content)
        elif item.type == "reasoning":
            thinking += "".join(part.text for part in item.summary)
        else:
            calls.append([item.name, arguments(item.arguments)])
    return text, thinking, calls


def said_message(answer):
    text, thinking, calls = "", "", []
    for block in answer.content:
        if block.type == "text":
            text += block.text
        elif block.type == "thinking":
            thinking += block.thinking
            assert block.signature, answer
        elif block.type == "tool_use":
            calls.append([block.name, block.input])
    # Why it refused.
    details = answer.to_dict().get("stop_details") or {}
    return text + (details.get("explanation") or ""), thinking, calls


def stream_chat(headers):
    with client.chat.completions.stream(model="m", messages=question, extra_headers=headers) as stream:
        try:
            for _ in stream:
                pass
            return stream.get_final_completion()
        # Its way to tell of an answer that a cap or a filter ended: a provider's own does the same.
        except openai.LengthFinishReasonError as ended:
            return ended.completion
        except openai.ContentFilterFinishReasonError:
            return None


def stream_response(headers):
    with client.responses.stream(model="m", input="hello", extra_headers=headers) as stream:
        last = [event for event in stream][-1]
    assert last.type in ("response.completed", "response.incomplete", "response.failed"), last
    if last.type == "response.failed":
        raise openai.APIError(last.response.error.message, request=None, body=None)
    return last.response


def stream_message(headers):
    with claude.messages.stream(model="m", max_tokens=9, messages=question, extra_headers=headers) as stream:
        return stream.get_final_message()


DIALECTS = {
    "openai.chat": (openai.types.chat.ChatCompletion, stream_chat, said_chat, openai.APIError),
    "openai.responses": (openai.types.responses.Response, stream_response, said_response, openai.APIError),
    "anthropic.messages": (anthropic.types.Message, stream_message, said_message, anthropic.APIError),
}
# Each event of a stream must be one that the SDK knows, by its strict type.
EVENTS = {
    "openai.chat": openai.types.chat.ChatCompletionChunk,
    "openai.responses": openai.types.responses.ResponseStreamEvent,
    "anthropic.messages": anthropic.types.RawMessageStreamEvent,
}
EVENTS = {name: pydantic.TypeAdapter(kind) for name, kind in EVENTS.items()}


def frames(body):
    for line in body.split("\n"):
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line[6:])


def check_answer(place, case):
    kind, stream, said, fails = DIALECTS[case["client"]]
    if case["kind"] == "whole":
        answer = kind.model_validate_json(case["body"])
    elif case["fails"]:
        try:
            stream({"x-case": str(place)})
        except fails:
            return
        raise AssertionError("a stream that fails was taken for a whole one")
    else:
        for event in frames(case["body"]):
            EVENTS[case["client"]].validate_python(event)
        answer = stream({"x-case": str(place)})
        if answer is None:
            return
        kind.model_validate(answer.model_dump(warnings=False))
    found = said(answer)
    assert found == (case["text"], case["thinking"], case["calls"]), f"{found}\n!= {case['text'], case['thinking'], case['calls']}"
    assert answer.usage is not None


CONVERSE = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape
COHERE = [pydantic.TypeAdapter(kind) for kind in (list[cohere.ChatMessageV2], list[cohere.ToolV2])]
GEMINI = {
    "contents": pydantic.TypeAdapter(list[gemini.Content]),
    "systemInstruction": pydantic.TypeAdapter(gemini.Content),
    "tools": pydantic.TypeAdapter(list[gemini.Tool]),
    "toolConfig": pydantic.TypeAdapter(gemini.ToolConfig),
    "generationConfig": pydantic.TypeAdapter(gemini.GenerationConfig),
}


def check_request(_, case):
    body = json.loads(case["body"])
    if case["to"] == "bedrock.converse":
        report = botocore.validate.ParamValidator().validate({"modelId": "m", **body}, CONVERSE)
        assert not report.has_errors(), report.generate_report()
    elif case["to"] == "cohere.v2.chat":
        COHERE[0].validate_python(body["messages"])
        COHERE[1].validate_python(body.get("tools", []))
    else:
        for name, value in body.items():
            GEMINI[name].validate_json(json.dumps(value))


wrong = []


def check(place):
    case = cases[place]
    try:
        (check_request if case["kind"] == "request" else check_answer)(place, case)
    except Exception as problem:  # noqa: BLE001
        what = " ".join(str(case.get(name, "")) for name in ("id", "from", "kind", "client", "to"))
        wrong.append(f"{what}: {type(problem).__name__}: {str(problem)[:700]}")


with ThreadPoolExecutor(4) as pool:
    list(pool.map(check, range(len(cases))))
counts = {}
for case in cases:
    name = case.get("client") or case["to"]
    counts[f"{case['kind']} {name}"] = counts.get(f"{case['kind']} {name}", 0) + 1
print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
if wrong:
    sys.exit(f"{len(wrong)} wrong:\n" + "\n".join(sorted(wrong)[:40]))
