"""The official Python SDKs of Google, OpenAI and Anthropic as clients of a running gateway, before a Gemini and an Anthropic provider: each
answer is asked for twice, and the second, which is a kept one, is parsed to the same. Prints how many different calls were made."""

import json
import sys

import anthropic
import openai
from google import genai
from google.genai import errors, types

base, key = sys.argv[1], "tg-acme"
google = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=base))
chat = openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0)
claude = anthropic.Anthropic(base_url=base, api_key=key, max_retries=0)
question = [{"role": "user", "content": "hello"}]
wanted = ("Hello there, friend.", ("get_weather", {"city": "Paris"}))


def gemini(answer):
    call = answer.function_calls[0]
    assert answer.usage_metadata.prompt_token_count == 7 and answer.usage_metadata.thoughts_token_count == 3, answer
    return answer.text, (call.name, dict(call.args))


def gemini_stream(model):
    text, call, usage = "", None, None
    for chunk in google.models.generate_content_stream(model=model, contents="hello"):
        text += "".join(part.text or "" for part in chunk.candidates[0].content.parts or [])
        call = (chunk.function_calls or [call])[0]
        usage = chunk.usage_metadata or usage
    assert usage.candidates_token_count == 9, usage
    return text, (call.name, dict(call.args))


def completed(answer):
    message = answer.choices[0].message
    call = message.tool_calls[0].function
    assert answer.choices[0].finish_reason == "tool_calls" and answer.usage.prompt_tokens == 7, answer
    return message.content, (call.name, json.loads(call.arguments))


def chat_stream(model):
    with chat.chat.completions.stream(model=model, messages=question, stream_options={"include_usage": True}) as stream:
        return completed(stream.get_final_completion())


def responded(answer):
    call = next(item for item in answer.output if item.type == "function_call")
    assert answer.status == "completed" and answer.usage.input_tokens == 7, answer
    return answer.output_text, (call.name, json.loads(call.arguments))


def response_stream(model):
    with chat.responses.stream(model=model, input="hello", store=False) as stream:
        return responded(stream.get_final_response())


def messaged(message):
    text = "".join(block.text for block in message.content if block.type == "text")
    call = next(block for block in message.content if block.type == "tool_use")
    assert message.stop_reason == "tool_use" and message.usage.input_tokens == 7, message
    return text, (call.name, call.input)


def message_stream(model):
    with claude.messages.stream(model=model, max_tokens=99, messages=question) as stream:
        return messaged(stream.get_final_message())


def of(model):
    return [
        lambda: completed(chat.chat.completions.create(model=model, messages=question)),
        lambda: chat_stream(model),
        lambda: responded(chat.responses.create(model=model, input="hello", store=False)),
        lambda: response_stream(model),
        lambda: messaged(claude.messages.create(model=model, max_tokens=99, messages=question)),
        lambda: message_stream(model),
    ]


calls = [
    lambda: gemini(google.models.generate_content(model="gemini-2.5-flash", contents="hello")),
    lambda: gemini_stream("gemini-2.5-flash"),
    *of("gemini-2.5-flash"),
    *of("claude-sonnet-4-5"),
]
for place, call in enumerate(calls):
    first, second = call(), call()
    assert first == second == wanted, (place, first, second)

counted = google.models.count_tokens(model="gemini-2.5-flash", contents="hello")
assert counted.total_tokens == 7, counted
embedded = google.models.embed_content(model="gemini-embedding-001", contents="hello")
assert embedded.embeddings[0].values == [0.5, 0.25], embedded
try:
    google.models.generate_content(model="nobody", contents="hello")
    raise AssertionError("there is no such model")
except errors.ClientError as error:
    assert (error.code, error.status) == (404, "NOT_FOUND") and "TG3006" in str(error), error
wrong = genai.Client(api_key="wrong", http_options=types.HttpOptions(base_url=base))
try:
    wrong.models.count_tokens(model="gemini-2.5-flash", contents="x")
    raise AssertionError("there is no such key")
except errors.ClientError as error:
    assert (error.code, error.status) == (401, "UNAUTHENTICATED"), error
print(len(calls))
