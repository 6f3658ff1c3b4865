"""Amazon's and Cohere's own clients read streams that a limit ends: as ones that reached their cap, with the reason and the usage so far."""

import sys

base, provider = sys.argv[1:]

if provider == "bedrock":
    import botocore.config
    import botocore.session

    def with_key(params, **_):
        params["headers"]["authorization"] = "Bearer tg-acme"

    # It sends its own bearer tokens over TLS only.
    unsigned = botocore.config.Config(signature_version=botocore.UNSIGNED)
    session = botocore.session.get_session()
    client = session.create_client("bedrock-runtime", region_name="us-east-1", endpoint_url=base, config=unsigned)
    client.meta.events.register("before-call.bedrock-runtime", with_key)
    question = [{"role": "user", "content": [{"text": "hi"}]}]
    events = list(client.converse_stream(modelId="told", messages=question)["stream"])
    said = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert len("".join(said)) > 1000, events[-5:]
    stopped, ended, counted = events[-3:]
    assert stopped == {"contentBlockStop": {"contentBlockIndex": 0}}, stopped
    assert ended["messageStop"]["stopReason"] == "max_tokens", ended
    assert ended["messageStop"]["additionalModelResponseFields"]["tollgate"]["code"] == "TG2001", ended
    assert counted["metadata"]["usage"]["outputTokens"] > 100, counted
else:
    import cohere

    client = cohere.ClientV2(api_key="tg-acme", base_url=base)
    events = list(client.chat_stream(model="told", messages=[{"role": "user", "content": "hi"}]))
    said = [event.delta.message.content.text for event in events if event.type == "content-delta"]
    assert len("".join(said)) > 1000, events[-5:]
    stopped, ended = events[-2:]
    assert (stopped.type, ended.type) == ("content-end", "message-end"), events[-3:]
    assert ended.delta.finish_reason == "MAX_TOKENS" and ended.tollgate["code"] == "TG2001", ended
    assert ended.delta.usage.billed_units.output_tokens > 100, ended
print("content")
