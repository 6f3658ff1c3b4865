"""The official OpenAI and Anthropic SDKs against a running gateway: answers, streams, refusals, models."""

import sys

import anthropic
import openai

base = sys.argv[1]
client = openai.OpenAI(base_url=f"{base}/v1", api_key="tg-acme", max_retries=0)
claude = anthropic.Anthropic(base_url=base, api_key="tg-acme", max_retries=0)
question = [{"role": "user", "content": "hello"}]

# Not streamed.
answer = client.chat.completions.create(model="sandbox/12", messages=question)
assert answer.usage.completion_tokens == 12, answer
assert answer.choices[0].finish_reason == "stop", answer
capped = client.chat.completions.create(model="sandbox/12", messages=question, max_tokens=5)
assert capped.usage.completion_tokens == 5 and capped.choices[0].finish_reason == "length", capped

# Streamed: the usage frame comes if asked for, and only then.
for options, wanted in (({}, False), ({"stream_options": {"include_usage": True}}, True), ({"stream_options": {"include_usage": False}}, False)):
    text, usage = "", []
    for chunk in client.chat.completions.create(model="sandbox/20", messages=question, stream=True, **options):
        if chunk.usage is not None:
            usage.append(chunk.usage)
        for choice in chunk.choices:
            text += choice.delta.content or ""
    assert text and bool(usage) == wanted, (options, usage, text)

vectors = client.embeddings.create(model="sandbox/8", input=["one", "two"])
assert len(vectors.data) == 2 and vectors.usage.prompt_tokens > 0, vectors

message = claude.messages.create(model="sandbox/9", max_tokens=100, messages=question)
assert message.usage.output_tokens == 9 and message.stop_reason == "end_turn", message
with claude.messages.stream(model="sandbox/9", max_tokens=100, messages=question) as stream:
    final = stream.get_final_message()
assert final.usage.output_tokens == 9 and final.content[0].text, final
assert claude.messages.count_tokens(model="sandbox/9", messages=question).input_tokens > 0

assert any(model.id.startswith("sandbox/") for model in client.models.list()), "no sandbox model is listed"
assert any(model.id.startswith("sandbox/") for model in claude.models.list()), "no sandbox model is listed"

# A stream that its limit ends is one that reached its cap: the text is there, and the reason beside it.
text, reasons, why = "", [], None
for chunk in client.chat.completions.create(model="sandbox/20000", messages=question, stream=True):
    why = why or getattr(chunk, "tollgate", None)
    for choice in chunk.choices:
        text += choice.delta.content or ""
        reasons += [choice.finish_reason] if choice.finish_reason else []
assert len(text) > 1000 and reasons == ["length"] and why["code"] == "TG2001", (len(text), reasons, why)
with claude.messages.stream(model="sandbox/19999", max_tokens=19999, messages=question) as stream:
    ends = [event for event in stream if event.type == "message_delta"]
    final = stream.get_final_message()
assert final.stop_reason == "max_tokens" and len(final.content[0].text) > 1000, final
assert ends[0].tollgate["limit"]["name"] == "each-model" and final.usage.input_tokens > 0, (ends, final.usage)
events = list(client.responses.create(model="sandbox/19998", input="hello", stream=True))
text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
final = events[-1].response
assert events[-1].type == "response.incomplete" and final.incomplete_details.reason == "max_output_tokens", events[-1]
assert len(text) > 1000 and final.output_text == text and final.output[0].status == "incomplete", final
assert [event.sequence_number for event in events] == list(range(len(events))), [event.sequence_number for event in events]
assert final.tollgate["code"] == "TG2001" and final.usage.input_tokens > 0 and final.usage.output_tokens > 100, final

# Mistakes and refusals are the SDK's own exceptions.
def fails(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind} was expected")

fails(openai.NotFoundError, lambda: client.chat.completions.create(model="nobody/1", messages=question))
fails(anthropic.NotFoundError, lambda: claude.messages.create(model="nobody/1", max_tokens=1, messages=question))
fails(openai.AuthenticationError, lambda: openai.OpenAI(base_url=f"{base}/v1", api_key="wrong", max_retries=0).models.list())
limited = openai.OpenAI(base_url=f"{base}/v1", api_key="tg-globex", max_retries=0)
limited.chat.completions.create(model="sandbox/1", messages=question)
error = fails(openai.RateLimitError, lambda: limited.chat.completions.create(model="sandbox/1", messages=question))
assert error.code == "TG2001", error.body
assert error.response.headers["x-should-retry"] == "false", error.response.headers
refused = fails(anthropic.RateLimitError, lambda: anthropic.Anthropic(base_url=base, api_key="tg-globex", max_retries=0).messages.create(model="sandbox/1", max_tokens=5, messages=question))
assert refused.body["error"]["type"] == "rate_limit_error", refused.body
print("content")
