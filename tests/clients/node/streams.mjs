#!/usr/bin/env node
// Streams as the official Node SDKs of OpenAI and Anthropic read them, for every model given.
//
// Usage: streams.mjs BASE_URL KEY MODEL ...
//
// For each model and each API (chat, responses, messages): text, two calls of tools in one answer, thinking before the
// text, and an error in the middle. Streams of models in UNCOUNTED (a,b) may report no usage. Prints one JSON line each, {"name", "ok", "detail"}; exit 1 if one failed. Answers are
// scripted through the prompt, so the far end must be the fake provider or a gateway before it.
// The SDKs are found in NODE_CLIENTS (see ../setup).

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const TEXT = 'Grüße aus 東京 🙂';
const THOUGHT = 'Hm. Hm.';
const ARGUMENTS = { city: 'Oslo', days: [1, 2] };
const CALLS = [['weather', ARGUMENTS], ['time', {}]];
const SCHEMA = { type: 'object', properties: { city: { type: 'string' } } };
const COUNTS = { input_tokens: 21, cache_read: 4, output_tokens: 9 };
const SCRIPTS = {
  text: { text: TEXT, chunks: 5 },
  tools: {
    text: TEXT,
    tool_call: [{ name: 'weather', arguments: ARGUMENTS, id: 'call_a' }, { name: 'time', arguments: {}, id: 'call_b' }],
  },
  thinking: { thinking: THOUGHT, text: TEXT },
  error: { text: 'one two three four', chunks: 4, error_midstream: 2 },
};

const [baseUrl, key, ...models] = process.argv.slice(2);
assert(models.length > 0, 'usage: streams.mjs BASE_URL KEY MODEL ...');

const clients = process.env.NODE_CLIENTS ?? import.meta.dirname;
const require = createRequire(join(clients, 'package.json'));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { default: OpenAI } = await load('openai');
const { default: Anthropic } = await load('@anthropic-ai/sdk');

// Nothing of the machine's own settings may reach the clients.
for (const name of Object.keys(process.env)) {
  if (/^(OPENAI|ANTHROPIC)_/.test(name) || /_proxy$/i.test(name)) delete process.env[name];
}
process.env.OPENAI_BASE_URL = `${baseUrl.replace(/\/+$/, '')}/v1`;
process.env.OPENAI_API_KEY = key;
process.env.ANTHROPIC_BASE_URL = baseUrl.replace(/\/+$/, '');
process.env.ANTHROPIC_API_KEY = key;
const uncounted = (process.env.UNCOUNTED ?? '').split(',');
const [openai, anthropic] = [new OpenAI(), new Anthropic()];

const prompt = (script) => [
  { role: 'user', content: `Say hello. [[fake:${JSON.stringify({ ...COUNTS, ...script })}]]` },
];

/** What a stream of chat completions adds up to, by the SDK's own accumulator. */
async function chat(model, script) {
  const stream = openai.chat.completions.stream({
    model,
    messages: prompt(script),
    max_completion_tokens: 64,
    stream_options: { include_usage: true },
    tools: CALLS.map(([name]) => ({ type: 'function', function: { name, parameters: SCHEMA } })),
  });
  let thinking = '';
  stream.on('chunk', (chunk) => {
    thinking += chunk.choices[0]?.delta?.reasoning_content ?? '';
  });
  const { choices: [{ message, finish_reason }], usage } = await stream.finalChatCompletion();
  const calls = message.tool_calls ?? [];
  assert.equal(finish_reason, calls.length > 0 ? 'tool_calls' : 'stop');
  return {
    text: message.content ?? '',
    thinking,
    calls: calls.map((call) => [call.id, call.function.name, JSON.parse(call.function.arguments)]),
    output: usage?.completion_tokens,
  };
}

/** The same of responses. */
async function responses(model, script) {
  const stream = await openai.responses.create({
    model,
    input: prompt(script),
    max_output_tokens: 64,
    store: false,
    stream: true,
    tools: CALLS.map(([name]) => ({ type: 'function', name, parameters: SCHEMA, strict: false })),
  });
  const events = [];
  for await (const event of stream) events.push(event);
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, index) => index));
  const { type, response, message } = events.at(-1);
  if (type === 'error') throw new OpenAI.APIError(undefined, undefined, message, undefined);
  if (type === 'response.failed') throw new OpenAI.APIError(undefined, response.error, response.error.message, undefined);
  assert.equal(type, 'response.completed');
  const said = (kind) => events.map((event) => (event.type === kind ? event.delta : '')).join('');
  const calls = response.output.filter((item) => item.type === 'function_call');
  return {
    text: said('response.output_text.delta'),
    thinking: said('response.reasoning_summary_text.delta'),
    calls: calls.map((call) => [call.call_id, call.name, JSON.parse(call.arguments)]),
    output: response.usage.output_tokens,
  };
}

/** The same of messages, by the SDK's own accumulator. */
async function messages(model, script) {
  const tools = CALLS.map(([name]) => ({ name, input_schema: SCHEMA }));
  const stream = anthropic.messages.stream({ model, max_tokens: 64, messages: prompt(script), tools });
  const { content, stop_reason, usage } = await stream.finalMessage();
  const of = (kind) => content.filter((block) => block.type === kind);
  const calls = of('tool_use');
  assert.equal(stop_reason, calls.length > 0 ? 'tool_use' : 'end_turn');
  return {
    text: of('text').map((block) => block.text).join(''),
    thinking: of('thinking').map((block) => block.thinking).join(''),
    calls: calls.map((call) => [call.id, call.name, call.input]),
    output: usage.output_tokens,
  };
}

async function run(read, model, name) {
  if (name === 'error') {
    const isTold = (error) =>
      (error instanceof OpenAI.OpenAIError || error instanceof Anthropic.AnthropicError) && error.message !== '';
    await assert.rejects(read(model, SCRIPTS.error), isTold);
    return;
  }
  const said = await read(model, SCRIPTS[name]);
  assert.equal(said.text, TEXT);
  if (!uncounted.includes(model)) assert.equal(said.output, 9);
  assert.equal(said.thinking, name === 'thinking' ? THOUGHT : '');
  assert.deepEqual(said.calls.map(([, ...call]) => call), name === 'tools' ? CALLS : []);
  assert.equal(new Set(said.calls.map(([id]) => id)).size, said.calls.length);
}

let failed = false;
for (const model of models) {
  for (const read of [chat, responses, messages]) {
    for (const name of Object.keys(SCRIPTS)) {
      let [ok, detail] = [true, ''];
      try {
        await run(read, model, name);
      } catch (error) {
        [ok, detail] = [false, `${error.constructor.name}: ${error.message}`];
      }
      failed ||= !ok;
      console.log(JSON.stringify({ name: `node.${read.name}.${model}.${name}`, ok, detail }));
    }
  }
}
process.exitCode = failed ? 1 : 0;
