#!/usr/bin/env python3
"""Streams as the official Python SDKs of OpenAI and Anthropic read them, for every model given.

Usage: streams.py BASE_URL KEY MODEL ...

For each model and each API (chat, responses, messages): text, two calls of tools in one answer, thinking before the text,
and an error in the middle. Streams of models in UNCOUNTED (a,b) may report no usage. Prints one JSON line each, {"name", "ok", "detail"}; exit 1 if one failed. Answers are scripted
through the prompt, so the far end must be the fake provider or a gateway before it.
"""

import json
import os
import sys

TEXT = "Grüße aus 東京 🙂"
THOUGHT = "Hm. Hm."
ARGUMENTS = {"city": "Oslo", "days": [1, 2]}
CALLS = [("weather", ARGUMENTS), ("time", {})]
SCRIPTED = [
    {"name": "weather", "arguments": ARGUMENTS, "id": "call_a"},
    {"name": "time", "arguments": {}, "id": "call_b"},
]
SCRIPTS = {
    "text": {"text": TEXT, "chunks": 5},
    "tools": {"text": TEXT, "tool_call": SCRIPTED},
    "thinking": {"thinking": THOUGHT, "text": TEXT},
    "error": {"text": "one two three four", "chunks": 4, "error_midstream": 2},
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def check(fact, *detail):
    if not fact:
        raise AssertionError(" ".join(map(str, detail)) or "a check failed")


def prompt(script):
    counts = {"input_tokens": 21, "cache_read": 4, "output_tokens": 9}
    return [{"role": "user", "content": f"Say hello. [[fake:{json.dumps({**counts, **script})}]]"}]


class Said:
    """What a stream added up to."""

    def __init__(self):
        self.text, self.thinking, self.calls, self.output_tokens, self.failed = "", "", [], None, False


def chat(client, model, script):
    import openai

    said, calls = Said(), {}
    function = [{"name": name, "parameters": SCHEMA} for name, _ in CALLS]
    stream = client.chat.completions.create(
        model=model,
        messages=prompt(script),
        max_completion_tokens=64,
        stream=True,
        stream_options={"include_usage": True},
        tools=[{"type": "function", "function": it} for it in function],
    )
    try:
        finish = None
        for chunk in stream:
            said.output_tokens = chunk.usage.completion_tokens if chunk.usage else said.output_tokens
            for choice in chunk.choices:
                delta = choice.delta
                said.text += (delta and delta.content) or ""
                said.thinking += getattr(delta, "reasoning_content", None) or ""
                finish = choice.finish_reason or finish
                for call in (delta and delta.tool_calls) or []:
                    known = calls.setdefault(call.index, {"id": call.id, "name": call.function.name, "arguments": ""})
                    known["arguments"] += call.function.arguments or ""
        check(finish == ("tool_calls" if calls else "stop"), "finish was", finish)
    except openai.APIError as error:
        check(error.message, "an error without words")
        said.failed = True
    check(sorted(calls) == list(range(len(calls))), calls)
    check(len({call["id"] for call in calls.values()}) == len(calls), calls)
    said.calls = [(call["name"], json.loads(call["arguments"])) for call in calls.values() if not said.failed]
    return said


def responses(client, model, script):
    import openai

    said, events = Said(), []
    stream = client.responses.create(
        model=model,
        input=prompt(script),
        max_output_tokens=64,
        store=False,
        stream=True,
        tools=[{"type": "function", "name": name, "parameters": SCHEMA, "strict": False} for name, _ in CALLS],
    )
    try:
        for event in stream:
            events.append(event)
    except openai.APIError as error:
        check(error.message, "an error without words")
        said.failed = True
    check([event.sequence_number for event in events] == list(range(len(events))), "numbers")
    check(events[0].type == "response.created", events[0])
    deltas = {"response.output_text.delta": "text", "response.reasoning_summary_text.delta": "thinking"}
    for event in events:
        if event.type in deltas:
            setattr(said, deltas[event.type], getattr(said, deltas[event.type]) + event.delta)
    last = events[-1]
    if last.type in ("response.failed", "error"):
        check(last.message if last.type == "error" else last.response.error.message, last)
        said.failed = True
    if not said.failed:
        check(last.type == "response.completed", last)
        check(last.response.output_text == said.text, last.response.output)
        said.output_tokens = last.response.usage.output_tokens
        calls = [item for item in last.response.output if item.type == "function_call"]
        check(len({call.call_id for call in calls}) == len(calls), calls)
        said.calls = [(call.name, json.loads(call.arguments)) for call in calls]
    return said


def messages(client, model, script):
    import anthropic

    said = Said()
    tools = [{"name": name, "input_schema": SCHEMA} for name, _ in CALLS]
    try:
        with client.messages.stream(model=model, max_tokens=64, messages=prompt(script), tools=tools) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_message()
        check(kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds)
        said.text = "".join(block.text for block in final.content if block.type == "text")
        said.thinking = "".join(block.thinking for block in final.content if block.type == "thinking")
        calls = [block for block in final.content if block.type == "tool_use"]
        check(final.stop_reason == ("tool_use" if calls else "end_turn"), final.stop_reason)
        check(len({call.id for call in calls}) == len(calls), calls)
        said.calls = [(call.name, call.input) for call in calls]
        said.output_tokens = final.usage.output_tokens
    except anthropic.APIStatusError as error:
        check(error.message, "an error without words")
        said.failed = True
    return said


def run(read, client, model, name):
    said = read(client, model, SCRIPTS[name])
    check(said.failed == (name == "error"), "failed:", said.failed)
    if said.failed:
        return
    check(said.text == TEXT, "text was", repr(said.text))
    is_counted = model not in os.environ.get("UNCOUNTED", "").split(",")
    check(said.output_tokens == 9 or not is_counted, "output tokens were", said.output_tokens)
    check(said.calls == (CALLS if name == "tools" else []), "calls were", said.calls)
    check(said.thinking == (THOUGHT if name == "thinking" else ""), "thinking was", repr(said.thinking))


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    base_url, key, models = sys.argv[1].rstrip("/"), sys.argv[2], sys.argv[3:]
    # Nothing of the machine's own settings may reach the clients.
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "ANTHROPIC_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ |= {"OPENAI_BASE_URL": base_url + "/v1", "OPENAI_API_KEY": key}
    os.environ |= {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": key}
    import anthropic
    import openai

    clients = {chat: openai.OpenAI(), responses: openai.OpenAI(), messages: anthropic.Anthropic()}
    failed = False
    for model in models:
        for read, client in clients.items():
            for name in SCRIPTS:
                try:
                    run(read, client, model, name)
                    detail, ok = "", True
                except Exception as error:
                    detail, ok = f"{type(error).__name__}: {error}", False
                failed |= not ok
                line = {"name": f"python.{read.__name__}.{model}.{name}", "ok": ok, "detail": detail}
                print(json.dumps(line, ensure_ascii=False), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
