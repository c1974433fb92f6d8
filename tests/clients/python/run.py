#!/usr/bin/env python3
"""The official Python SDKs of OpenAI and Anthropic as clients, unmodified, pointed somewhere by their usual variables.

Usage: run.py BASE_URL KEY [options] [SCENARIO ...]      SCENARIO may hold wildcards: 'openai.*', '*.budget'

Prints one JSON line per scenario, {"name", "ok", "detail"}; exit 1 if one failed. The clients are made without arguments
except for a hook that counts requests on the wire, so what is proven is what a user gets by setting one variable.
By default answers are scripted through the prompt, so the far end must be the fake provider or a gateway before it;
--plain asks a real model and checks shapes only. The refusals (*_key, *_model, *.budget) need somebody who refuses: the
fake provider, or a gateway told by the options which model and keys to refuse.
"""

import argparse
import fnmatch
import json
import os
import sys

TEXT = "Grüße aus 東京 🙂"
ARGUMENTS = {"city": "Oslo", "days": [1, 2]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
USAGE = {"input_tokens": 21, "cache_read": 4, "output_tokens": 9}

scenarios = {}


def scenario(name, scripted=False):
    """Registers a scenario; a scripted one needs the fake provider at the far end."""

    def register(function):
        scenarios[name] = (function, scripted)
        return function

    return register


def check(fact, *detail):
    if not fact:
        raise AssertionError(" ".join(map(str, detail)) or "a check failed")


class Clients:
    """Makes clients from the environment alone, and counts their requests."""

    def __init__(self, options):
        self.options = options
        self.requests = 0

    def count(self, _request):
        self.requests += 1

    def openai(self, key=None):
        import openai

        os.environ["OPENAI_BASE_URL"] = self.options.base_url + "/v1"
        os.environ["OPENAI_API_KEY"] = key or self.options.key
        return openai.OpenAI(http_client=openai.DefaultHttpxClient(event_hooks={"request": [self.count]}))

    def anthropic(self, key=None):
        import anthropic

        os.environ["ANTHROPIC_BASE_URL"] = self.options.base_url
        os.environ["ANTHROPIC_API_KEY"] = key or self.options.key
        return anthropic.Anthropic(http_client=anthropic.DefaultHttpxClient(event_hooks={"request": [self.count]}))

    def prompt(self, **script):
        """A user turn that scripts its own answer."""
        marker = "" if self.options.plain else f" [[fake:{json.dumps({**USAGE, **script})}]]"
        return [{"role": "user", "content": f"Say hello.{marker}"}]

    def check_text(self, text):
        check(text if self.options.plain else text == TEXT, "text was", repr(text))

    def refused(self, expected, status, code, call):
        """Runs a call that must raise one error class after exactly one request."""
        before = self.requests
        try:
            call()
        except expected as error:
            check(type(error) is expected, "raised", type(error).__name__)
            check(error.status_code == status, "status", error.status_code)
            found = error.body.get("code") if "openai" in type(error).__module__ else error.body["error"]["type"]
            check(code is None or found == code, "code", found)
            check(self.requests - before == 1, "attempts", self.requests - before)
            check(str(error), "no message")
            return str(error)[:200]
        raise AssertionError("was not refused")


# ---- OpenAI ----


@scenario("openai.models")
def openai_models(c):
    names = [model.id for model in c.openai().models.list()]
    check(c.options.openai_model in names, names)


@scenario("openai.model", scripted=True)
def openai_model(c):
    check(c.openai().models.retrieve(c.options.openai_model).id == c.options.openai_model)


def chat(c, messages, **more):
    return c.openai().chat.completions.create(
        model=c.options.openai_model, messages=messages, max_completion_tokens=16, **more
    )


@scenario("openai.chat")
def openai_chat(c):
    answer = chat(c, c.prompt(text=TEXT))
    c.check_text(answer.choices[0].message.content)
    check(answer.object == "chat.completion" and answer.choices[0].finish_reason in ("stop", "length"))
    usage = answer.usage
    check(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0, usage)
    if not c.options.plain:
        check((usage.prompt_tokens, usage.completion_tokens) == (25, 9), usage)
        check(usage.prompt_tokens_details.cached_tokens == 4, usage)


@scenario("openai.chat_raw")
def openai_chat_raw(c):
    messages = c.prompt(text=TEXT)
    completions = c.openai().chat.completions.with_raw_response
    raw = completions.create(model=c.options.openai_model, messages=messages, max_completion_tokens=16)
    check(raw.headers["content-type"].startswith("application/json"), raw.headers)
    c.check_text(raw.parse().choices[0].message.content)


@scenario("openai.stream")
def openai_stream(c):
    chunks = list(chat(c, c.prompt(text=TEXT, chunks=5), stream=True))
    c.check_text("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
    check(all(chunk.choices for chunk in chunks), "a chunk without choices was not asked for")
    if not c.options.plain:
        # A gateway that asks for it leaves the provider's `"usage": null` in the chunks.
        check(all(chunk.usage is None for chunk in chunks), "usage was not asked for")
    check(chunks[-1].choices[0].finish_reason in ("stop", "length"))
    check(len({chunk.id for chunk in chunks}) == 1)


@scenario("openai.stream_usage")
def openai_stream_usage(c):
    *chunks, last = chat(c, c.prompt(text=TEXT, chunks=5), stream=True, stream_options={"include_usage": True})
    c.check_text("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
    check(all(chunk.usage is None for chunk in chunks) and last.choices == [], last)
    check(last.usage.completion_tokens == 9 or c.options.plain, last.usage)


@scenario("openai.stream_helper", scripted=True)
def openai_stream_helper(c):
    request = {"model": c.options.openai_model, "messages": c.prompt(text=TEXT), "max_completion_tokens": 16}
    with c.openai().chat.completions.stream(**request) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "content.delta")
        c.check_text(stream.get_final_completion().choices[0].message.content)
    c.check_text(deltas)


def openai_tools(c):
    tool = {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": SCHEMA}}
    return {"messages": c.prompt(tool_call={"name": "weather", "arguments": ARGUMENTS}), "tools": [tool]}


@scenario("openai.tools", scripted=True)
def openai_tools_whole(c):
    choice = chat(c, **openai_tools(c)).choices[0]
    check(choice.finish_reason == "tool_calls" and choice.message.content is None, choice)
    (call,) = choice.message.tool_calls
    check(call.function.name == "weather" and json.loads(call.function.arguments) == ARGUMENTS, call)


@scenario("openai.tools_stream", scripted=True)
def openai_tools_stream(c):
    pieces, name, finish = "", None, None
    for chunk in chat(c, stream=True, **openai_tools(c)):
        for call in chunk.choices[0].delta.tool_calls or []:
            name = name or call.function.name
            pieces += call.function.arguments or ""
        finish = chunk.choices[0].finish_reason or finish
    check((name, json.loads(pieces), finish) == ("weather", ARGUMENTS, "tool_calls"), name, pieces, finish)


def respond(c, messages, **further):
    return c.openai().responses.create(model=c.options.openai_model, input=messages, max_output_tokens=16, **further)


def responses_tools(c):
    tool = {"type": "function", "name": "weather", "description": "Tells it.", "parameters": SCHEMA, "strict": False}
    return {"messages": c.prompt(tool_call={"name": "weather", "arguments": ARGUMENTS}), "tools": [tool]}


@scenario("openai.responses", scripted=True)
def openai_responses(c):
    answer = respond(c, c.prompt(text=TEXT))
    c.check_text(answer.output_text)
    check((answer.object, answer.status) == ("response", "completed"), answer)
    check((answer.usage.input_tokens, answer.usage.output_tokens) == (25, 9), answer.usage)
    check(answer.usage.input_tokens_details.cached_tokens == 4, answer.usage)


@scenario("openai.responses_stream", scripted=True)
def openai_responses_stream(c):
    events = list(respond(c, c.prompt(text=TEXT, chunks=5), stream=True))
    c.check_text("".join(event.delta for event in events if event.type == "response.output_text.delta"))
    check([event.sequence_number for event in events] == list(range(len(events))), "numbers")
    check((events[0].type, events[-1].type) == ("response.created", "response.completed"), events[-1])
    check(events[-1].response.usage.output_tokens == 9, events[-1])


@scenario("openai.responses_stream_helper", scripted=True)
def openai_responses_stream_helper(c):
    request = {"model": c.options.openai_model, "input": c.prompt(text=TEXT), "max_output_tokens": 16}
    with c.openai().responses.stream(**request) as stream:
        for _ in stream:
            pass
        c.check_text(stream.get_final_response().output_text)


@scenario("openai.responses_tools", scripted=True)
def openai_responses_tools(c):
    (call,) = respond(c, **responses_tools(c)).output
    check((call.type, call.name, json.loads(call.arguments)) == ("function_call", "weather", ARGUMENTS), call)


@scenario("openai.responses_tools_stream", scripted=True)
def openai_responses_tools_stream(c):
    events = list(respond(c, stream=True, **responses_tools(c)))
    (call,) = events[-1].response.output
    check((call.name, json.loads(call.arguments)) == ("weather", ARGUMENTS), call)
    pieces = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    check(json.loads(pieces) == ARGUMENTS, pieces)


@scenario("openai.responses_follow", scripted=True)
def openai_responses_follow(c):
    if c.options.translated or c.options.stateless:
        return
    first = respond(c, c.prompt(text=TEXT))
    kept = c.openai().responses.retrieve(first.id)
    check((kept.id, kept.output_text) == (first.id, first.output_text), kept)
    second = respond(c, c.prompt(text=TEXT), previous_response_id=first.id)
    check(second.previous_response_id == first.id and second.id != first.id, second)
    c.check_text(second.output_text)
    check(c.openai().responses.input_items.list(first.id).data, "no items")
    c.openai().responses.delete(first.id)
    try:
        c.openai().responses.retrieve(first.id)
    except Exception as error:
        check(error.status_code == 404, error)
    else:
        raise AssertionError("it is still there")


def scripted_text(**script):
    return f"A house. [[fake:{json.dumps(script)}]]"


@scenario("openai.images", scripted=True)
def openai_images(c):
    model, prompt = c.options.image_model, scripted_text(output_tokens=272)
    made = c.openai().images.generate(model=model, prompt=prompt, n=2, quality="low")
    check(len(made.data) == 2 and made.data[0].b64_json, made)
    check(made.usage.output_tokens == 544, made.usage)
    events = list(c.openai().images.generate(model=model, prompt=prompt, stream=True, partial_images=1))
    kinds = [event.type for event in events]
    check(kinds == ["image_generation.partial_image", "image_generation.completed"], kinds)
    check(events[-1].usage.output_tokens == 372, events[-1].usage)


@scenario("openai.image_edit", scripted=True)
def openai_image_edit(c):
    pictures = [("a.png", b"\x89PNG one", "image/png"), ("b.png", b"\x89PNG two", "image/png")]
    made = c.openai().images.edit(
        model=c.options.image_model, image=pictures, prompt=scripted_text(output_tokens=272), quality="low"
    )
    check(made.usage.input_tokens_details.image_tokens == 200 and made.data[0].b64_json, made.usage)


@scenario("openai.speech", scripted=True)
def openai_speech(c):
    speech = {"model": c.options.speech_model, "input": TEXT, "voice": "alloy"}
    check(len(c.openai().audio.speech.create(**speech).content) == 2800, "the sound")
    with c.openai().audio.speech.with_streaming_response.create(**speech) as response:
        check(sum(len(piece) for piece in response.iter_bytes()) == 2800, "the sound, streamed")


@scenario("openai.transcription", scripted=True)
def openai_transcription(c):
    sound = ("a.mp3", b"\xff\xf3\x14\xc4" + bytes(20_000), "audio/mpeg")
    ask = {"model": c.options.transcription_model, "file": sound, "prompt": scripted_text(text=TEXT, sound_ms=3500)}
    client = c.openai()
    whole = client.audio.transcriptions.create(**ask)
    check(whole.text == TEXT and whole.usage.seconds == 3.5, whole)
    verbose = client.audio.transcriptions.create(
        response_format="verbose_json", timestamp_granularities=["word", "segment"], **ask
    )
    check(verbose.duration == 3.5, verbose)
    check(client.audio.translations.create(**ask).text == TEXT, "translation")
    events = list(client.audio.transcriptions.create(stream=True, **ask))
    check([event.type for event in events] == ["transcript.text.delta", "transcript.text.done"], events)


@scenario("openai.embeddings", scripted=True)
def openai_embeddings(c):
    client, model = c.openai(), c.options.embedding_model
    found = client.embeddings.create(model=model, input=["one", "two"], dimensions=6)
    check([len(item.embedding) for item in found.data] == [6, 6] and found.usage.prompt_tokens > 0, found)
    floats = client.embeddings.create(model=model, input=["one", "two"], dimensions=6, encoding_format="float")
    check(floats.data[1].embedding == found.data[1].embedding, "base64 and float differ")


@scenario("openai.bad_key")
def openai_bad_key(c):
    import openai

    def call():
        c.openai(c.options.bad_key).chat.completions.create(model=c.options.openai_model, messages=c.prompt())

    return c.refused(openai.AuthenticationError, 401, None, call)


@scenario("openai.missing_model")
def openai_missing_model(c):
    import openai

    def call():
        c.openai().chat.completions.create(model=c.options.missing_model, messages=c.prompt())

    return c.refused(openai.NotFoundError, 404, "model_not_found", call)


@scenario("openai.denied_model")
def openai_denied_model(c):
    import openai

    def call():
        c.openai().chat.completions.create(model=c.options.denied_model, messages=c.prompt())

    return c.refused(openai.PermissionDeniedError, 403, None, call)


@scenario("openai.budget")
def openai_budget(c):
    import openai

    for stream in (False, True):

        def call():
            client = c.openai(c.options.broke_key)
            client.chat.completions.create(model=c.options.openai_model, messages=c.prompt(), stream=stream)

        detail = c.refused(openai.RateLimitError, 429, "insufficient_quota", call)
    return detail


# ---- Anthropic ----


@scenario("anthropic.models")
def anthropic_models(c):
    names = [model.id for model in c.anthropic().models.list()]
    check(c.options.anthropic_model in names, names)


@scenario("anthropic.model", scripted=True)
def anthropic_model(c):
    check(c.anthropic().models.retrieve(c.options.anthropic_model).type == "model")


def message(c, messages, **more):
    return c.anthropic().messages.create(model=c.options.anthropic_model, messages=messages, max_tokens=16, **more)


@scenario("anthropic.message")
def anthropic_message(c):
    answer = message(c, c.prompt(text=TEXT), system="Be brief.")
    c.check_text(answer.content[0].text)
    check(answer.type == "message" and answer.stop_reason in ("end_turn", "max_tokens"), answer.stop_reason)
    usage = answer.usage
    check(usage.input_tokens > 0 and usage.output_tokens > 0, usage)
    if not c.options.plain:
        check((usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (21, 4, 9), usage)


@scenario("anthropic.stream")
def anthropic_stream(c):
    events = list(message(c, c.prompt(text=TEXT, chunks=5), stream=True))
    kinds = [event.type for event in events if event.type != "ping"]
    check(kinds[:2] == ["message_start", "content_block_start"], kinds)
    check(kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"], kinds)
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    c.check_text("".join(delta.text for delta in deltas if delta.type == "text_delta"))
    (end,) = [event for event in events if event.type == "message_delta"]
    check(end.usage.output_tokens == 9 or c.options.plain, end)


@scenario("anthropic.stream_helper")
def anthropic_stream_helper(c):
    messages = c.prompt(text=TEXT, thinking="Hm. Hm.")
    request = {"model": c.options.anthropic_model, "max_tokens": 16, "messages": messages}
    with c.anthropic().messages.stream(**request) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    c.check_text(text)
    c.check_text("".join(block.text for block in final.content if block.type == "text"))
    if not c.options.plain:
        # Only Anthropic signs thinking.
        is_signed = bool(final.content[0].signature) != c.options.translated
        check(final.content[0].thinking == "Hm. Hm." and is_signed, final.content[0])
        check((final.usage.input_tokens, final.usage.output_tokens) == (21, 9), final.usage)


def anthropic_tools(c):
    tool = {"name": "weather", "description": "Tells it.", "input_schema": SCHEMA}
    return {"messages": c.prompt(tool_call={"name": "weather", "arguments": ARGUMENTS}), "tools": [tool]}


@scenario("anthropic.tools", scripted=True)
def anthropic_tools_whole(c):
    answer = message(c, **anthropic_tools(c))
    (call,) = answer.content
    check((answer.stop_reason, call.name, call.input) == ("tool_use", "weather", ARGUMENTS), answer)


@scenario("anthropic.tools_stream", scripted=True)
def anthropic_tools_stream(c):
    with c.anthropic().messages.stream(model=c.options.anthropic_model, max_tokens=16, **anthropic_tools(c)) as stream:
        final = stream.get_final_message()
    (call,) = final.content
    check((final.stop_reason, call.name, call.input) == ("tool_use", "weather", ARGUMENTS), final)


@scenario("anthropic.count_tokens")
def anthropic_count_tokens(c):
    counted = c.anthropic().messages.count_tokens(model=c.options.anthropic_model, messages=c.prompt())
    check(counted.input_tokens == 21 or ((c.options.plain or c.options.translated) and counted.input_tokens > 0), counted)


@scenario("anthropic.bad_key")
def anthropic_bad_key(c):
    import anthropic

    def call():
        client = c.anthropic(c.options.bad_key)
        client.messages.create(model=c.options.anthropic_model, max_tokens=16, messages=c.prompt())

    return c.refused(anthropic.AuthenticationError, 401, "authentication_error", call)


@scenario("anthropic.missing_model")
def anthropic_missing_model(c):
    import anthropic

    def call():
        c.anthropic().messages.create(model=c.options.missing_model, max_tokens=16, messages=c.prompt())

    return c.refused(anthropic.NotFoundError, 404, "not_found_error", call)


@scenario("anthropic.denied_model")
def anthropic_denied_model(c):
    import anthropic

    def call():
        c.anthropic().messages.create(model=c.options.denied_model, max_tokens=16, messages=c.prompt())

    return c.refused(anthropic.PermissionDeniedError, 403, "permission_error", call)


@scenario("anthropic.budget")
def anthropic_budget(c):
    import anthropic

    for stream in (False, True):

        def call():
            client = c.anthropic(c.options.broke_key)
            client.messages.create(model=c.options.anthropic_model, max_tokens=16, messages=c.prompt(), stream=stream)

        detail = c.refused(anthropic.PaymentRequiredError, 402, "billing_error", call)
    return detail


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base_url", help="http://host:port, without /v1")
    parser.add_argument("key")
    parser.add_argument("scenario", nargs="*", default=["*"])
    parser.add_argument("--openai-model", default="gpt-5-mini")
    parser.add_argument("--anthropic-model", default="claude-haiku-4-5")
    parser.add_argument("--embedding-model", default="text-embedding-3-small")
    parser.add_argument("--image-model", default="gpt-image-2")
    parser.add_argument("--speech-model", default="tts-1")
    parser.add_argument("--transcription-model", default="whisper-1")
    parser.add_argument("--missing-model", default="missing-model")
    parser.add_argument("--denied-model", default="denied-model")
    parser.add_argument("--bad-key", default="bad-key")
    parser.add_argument("--broke-key", default="sk-test-broke", help="a key whose hard budget is spent")
    parser.add_argument("--plain", action="store_true", help="ask a real model: no scripts, shapes only")
    parser.add_argument("--stateless", action="store_true", help="no provider keeps responses")
    parser.add_argument("--translated", action="store_true", help="each model is at a provider of the other dialect")
    parser.add_argument("--list", action="store_true", help="print the names of the scenarios and stop")
    options = parser.parse_intermixed_args()
    options.base_url = options.base_url.rstrip("/")
    chosen = [name for name in scenarios if any(fnmatch.fnmatch(name, pattern) for pattern in options.scenario)]
    chosen = [name for name in chosen if not (options.plain and scenarios[name][1])]
    if options.list:
        return print("\n".join(chosen))
    check(chosen, "no such scenario:", *options.scenario)
    # Nothing of the machine's own settings may reach the clients.
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "ANTHROPIC_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    failed = False
    for name in chosen:
        try:
            detail, ok = scenarios[name][0](Clients(options)) or "", True
        except Exception as error:
            detail, ok = f"{type(error).__name__}: {error}", False
        failed |= not ok
        print(json.dumps({"name": "python." + name, "ok": ok, "detail": detail}, ensure_ascii=False), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
