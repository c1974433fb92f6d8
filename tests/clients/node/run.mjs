#!/usr/bin/env node
// The official Node SDKs of OpenAI and Anthropic as clients, unmodified, pointed somewhere by their usual variables.
//
// Usage: run.mjs BASE_URL KEY [options] [SCENARIO ...]      SCENARIO may hold wildcards: 'openai.*', '*.budget'
//
// Prints one JSON line per scenario, {"name", "ok", "detail"}; exit 1 if one failed. The clients are made without
// arguments except for a `fetch` that counts requests on the wire, so what is proven is what a user gets by setting one
// variable. By default answers are scripted through the prompt, so the far end must be the fake provider or a gateway
// before it; --plain asks a real model and checks shapes only. The refusals (*_key, *_model, *.budget)
// need somebody who refuses: the fake provider, or a gateway told by the options which model and keys to refuse.
// The SDKs are found in NODE_CLIENTS (see ../setup).

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { pathToFileURL } from 'node:url';

const TEXT = 'Grüße aus 東京 🙂';
const ARGUMENTS = { city: 'Oslo', days: [1, 2] };
const SCHEMA = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const USAGE = { input_tokens: 21, cache_read: 4, output_tokens: 9 };

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'openai-model': { type: 'string', default: 'gpt-5-mini' },
    'anthropic-model': { type: 'string', default: 'claude-haiku-4-5' },
    'embedding-model': { type: 'string', default: 'text-embedding-3-small' },
    'image-model': { type: 'string', default: 'gpt-image-2' },
    'speech-model': { type: 'string', default: 'tts-1' },
    'transcription-model': { type: 'string', default: 'whisper-1' },
    'missing-model': { type: 'string', default: 'missing-model' },
    'denied-model': { type: 'string', default: 'denied-model' },
    'bad-key': { type: 'string', default: 'bad-key' },
    'broke-key': { type: 'string', default: 'sk-test-broke' },
    plain: { type: 'boolean', default: false },
    // Each model is at a provider of the other dialect.
    translated: { type: 'boolean', default: false },
    stateless: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
});
const [baseUrl, goodKey, ...wanted] = positionals;
assert(baseUrl && goodKey, 'usage: run.mjs BASE_URL KEY [options] [SCENARIO ...]');

const clients = process.env.NODE_CLIENTS ?? import.meta.dirname;
const require = createRequire(join(clients, 'package.json'));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { default: OpenAI } = await load('openai');
const { default: Anthropic } = await load('@anthropic-ai/sdk');

let requests = 0;
const counting = (...request) => {
  requests += 1;
  return fetch(...request);
};

// Nothing of the machine's own settings may reach the clients.
for (const name of Object.keys(process.env)) {
  if (/^(OPENAI|ANTHROPIC)_/.test(name)) delete process.env[name];
}

function openai(key = goodKey) {
  process.env.OPENAI_BASE_URL = `${baseUrl.replace(/\/+$/, '')}/v1`;
  process.env.OPENAI_API_KEY = key;
  return new OpenAI({ fetch: counting });
}

function anthropic(key = goodKey) {
  process.env.ANTHROPIC_BASE_URL = baseUrl.replace(/\/+$/, '');
  process.env.ANTHROPIC_API_KEY = key;
  return new Anthropic({ fetch: counting });
}

/** A user turn that scripts its own answer. */
function prompt(script = {}) {
  const marker = options.plain ? '' : ` [[fake:${JSON.stringify({ ...USAGE, ...script })}]]`;
  return [{ role: 'user', content: `Say hello.${marker}` }];
}

function checkText(text) {
  if (options.plain) assert(text, 'no text');
  else assert.equal(text, TEXT);
}

async function collect(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** Runs a call that must raise one error class after exactly one request. */
async function refused(expected, status, code, call) {
  const before = requests;
  try {
    await call();
  } catch (error) {
    assert.equal(error.constructor.name, expected.name, String(error));
    assert.equal(error.status, status);
    const found = error instanceof OpenAI.APIError ? error.code : error.error?.error?.type;
    if (code) assert.equal(found, code);
    assert.equal(requests - before, 1, 'attempts');
    assert(error.message, 'no message');
    return error.message.slice(0, 200);
  }
  throw new Error('was not refused');
}

const chat = (messages, more = {}, key = goodKey) =>
  openai(key).chat.completions.create({
    model: options['openai-model'], messages, max_completion_tokens: 16, ...more,
  });

const message = (messages, more = {}, key = goodKey) =>
  anthropic(key).messages.create({ model: options['anthropic-model'], messages, max_tokens: 16, ...more });

function respond(input, further = {}) {
  return openai().responses.create({ model: options['openai-model'], input, max_output_tokens: 16, ...further });
}

const scriptedText = (script) => `A house. [[fake:${JSON.stringify(script)}]]`;

function responsesTools() {
  return { tools: [{ type: 'function', name: 'weather', description: 'Tells it.', parameters: SCHEMA, strict: false }] };
}

const openaiTools = () => ({
  tools: [{ type: 'function', function: { name: 'weather', description: 'Tells it.', parameters: SCHEMA } }],
});
const anthropicTools = () => ({ tools: [{ name: 'weather', description: 'Tells it.', input_schema: SCHEMA }] });
const toolPrompt = () => prompt({ tool_call: { name: 'weather', arguments: ARGUMENTS } });

const scenarios = {
  async 'openai.models'() {
    const names = (await collect(openai().models.list())).map((model) => model.id);
    assert(names.includes(options['openai-model']), names.join());
  },
  async 'openai.model!'() {
    assert.equal((await openai().models.retrieve(options['openai-model'])).id, options['openai-model']);
  },
  async 'openai.chat'() {
    const answer = await chat(prompt({ text: TEXT }));
    checkText(answer.choices[0].message.content);
    assert.match(answer.choices[0].finish_reason, /^(stop|length)$/);
    const { prompt_tokens, completion_tokens, total_tokens } = answer.usage;
    assert.equal(total_tokens, prompt_tokens + completion_tokens);
    if (!options.plain) assert.deepEqual([prompt_tokens, completion_tokens], [25, 9]);
  },
  async 'openai.stream'() {
    const chunks = await collect(await chat(prompt({ text: TEXT, chunks: 5 }), { stream: true }));
    checkText(chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join(''));
    // A gateway that asks for it leaves the provider's `"usage": null` in the chunks.
    if (!options.plain) assert(chunks.every((chunk) => chunk.usage == null), 'usage was not asked for');
    assert.match(chunks.at(-1).choices[0].finish_reason, /^(stop|length)$/);
    assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  },
  async 'openai.stream_usage'() {
    const more = { stream: true, stream_options: { include_usage: true } };
    const chunks = await collect(await chat(prompt({ text: TEXT, chunks: 5 }), more));
    const last = chunks.pop();
    checkText(chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join(''));
    assert(chunks.every((chunk) => chunk.usage == null), 'usage came early');
    assert.deepEqual(last.choices, []);
    if (!options.plain) assert.equal(last.usage.completion_tokens, 9);
  },
  async 'openai.stream_helper'() {
    const request = { model: options['openai-model'], messages: prompt({ text: TEXT }), max_completion_tokens: 16 };
    const stream = openai().chat.completions.stream(request);
    checkText(await stream.finalContent());
  },
  async 'openai.tools!'() {
    const { choices: [choice] } = await chat(toolPrompt(), openaiTools());
    assert.equal(choice.finish_reason, 'tool_calls');
    assert.equal(choice.message.tool_calls[0].function.name, 'weather');
    assert.deepEqual(JSON.parse(choice.message.tool_calls[0].function.arguments), ARGUMENTS);
  },
  async 'openai.tools_stream!'() {
    const request = { model: options['openai-model'], messages: toolPrompt(), ...openaiTools() };
    const final = await openai().chat.completions.stream(request).finalChatCompletion();
    const [call] = final.choices[0].message.tool_calls;
    assert.equal(final.choices[0].finish_reason, 'tool_calls');
    assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ['weather', ARGUMENTS]);
  },
  async 'openai.responses!'() {
    const answer = await respond(prompt({ text: TEXT }));
    checkText(answer.output_text);
    assert.deepEqual([answer.status, answer.usage.input_tokens, answer.usage.output_tokens], ['completed', 25, 9]);
  },
  async 'openai.responses_stream!'() {
    const events = await collect(await respond(prompt({ text: TEXT, chunks: 5 }), { stream: true }));
    checkText(events.map((event) => (event.type === 'response.output_text.delta' ? event.delta : '')).join(''));
    assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, index) => index));
    assert.equal(events.at(-1).type, 'response.completed');
    assert.equal(events.at(-1).response.usage.output_tokens, 9);
  },
  async 'openai.responses_tools!'() {
    const { output: [call] } = await respond(toolPrompt(), responsesTools());
    assert.deepEqual([call.type, call.name, JSON.parse(call.arguments)], ['function_call', 'weather', ARGUMENTS]);
  },
  async 'openai.responses_tools_stream!'() {
    const request = { model: options['openai-model'], input: toolPrompt(), ...responsesTools() };
    const { output: [call] } = await openai().responses.stream(request).finalResponse();
    assert.deepEqual([call.name, JSON.parse(call.arguments)], ['weather', ARGUMENTS]);
  },
  async 'openai.responses_follow!'() {
    if (options.translated || options.stateless) return;
    const first = await respond(prompt({ text: TEXT }));
    const kept = await openai().responses.retrieve(first.id);
    assert.deepEqual([kept.id, kept.output_text], [first.id, first.output_text]);
    const second = await respond(prompt({ text: TEXT }), { previous_response_id: first.id });
    assert.equal(second.previous_response_id, first.id);
    checkText(second.output_text);
    await openai().responses.delete(first.id);
    await assert.rejects(openai().responses.retrieve(first.id), (error) => error.status === 404);
  },
  async 'openai.images!'() {
    const request = { model: options['image-model'], prompt: scriptedText({ output_tokens: 272 }), quality: 'low' };
    const made = await openai().images.generate({ ...request, n: 2 });
    assert.deepEqual([made.data.length, made.usage.output_tokens], [2, 544]);
    const events = await collect(await openai().images.generate({ ...request, stream: true, partial_images: 1 }));
    const kinds = events.map((event) => event.type);
    assert.deepEqual(kinds, ['image_generation.partial_image', 'image_generation.completed']);
  },
  async 'openai.image_edit!'() {
    const picture = (name) => OpenAI.toFile(Buffer.from(`PNG ${name}`), name, { type: 'image/png' });
    const image = [await picture('a.png'), await picture('b.png')];
    const prompt = scriptedText({ output_tokens: 272 });
    const made = await openai().images.edit({ model: options['image-model'], image, prompt, quality: 'low' });
    assert.equal(made.usage.input_tokens_details.image_tokens, 200);
  },
  async 'openai.speech!'() {
    const answer = await openai().audio.speech.create({ model: options['speech-model'], input: TEXT, voice: 'alloy' });
    assert.equal((await answer.arrayBuffer()).byteLength, 2800);
  },
  async 'openai.transcription!'() {
    // The file comes first in this SDK's form.
    const file = () => OpenAI.toFile(Buffer.concat([Buffer.from([0xff, 0xf3, 0x14, 0xc4]), Buffer.alloc(20_000)]), 'a.mp3', { type: 'audio/mpeg' });
    const further = { model: options['transcription-model'], prompt: scriptedText({ text: TEXT, sound_ms: 3500 }) };
    const whole = await openai().audio.transcriptions.create({ file: await file(), ...further });
    assert.deepEqual([whole.text, whole.usage.seconds], [TEXT, 3.5]);
    const translated = await openai().audio.translations.create({ file: await file(), ...further });
    assert.equal(translated.text, TEXT);
    const events = await collect(await openai().audio.transcriptions.create({ file: await file(), stream: true, ...further }));
    assert.deepEqual(events.map((event) => event.type), ['transcript.text.delta', 'transcript.text.done']);
  },
  async 'openai.embeddings!'() {
    const request = { model: options['embedding-model'], input: ['one', 'two'], dimensions: 6 };
    const found = await openai().embeddings.create(request);
    assert.deepEqual(found.data.map((item) => item.embedding.length), [6, 6]);
    const floats = await openai().embeddings.create({ ...request, encoding_format: 'float' });
    assert.deepEqual(floats.data[1].embedding, found.data[1].embedding);
  },
  'openai.bad_key': () => refused(OpenAI.AuthenticationError, 401, null, () => chat(prompt(), {}, options['bad-key'])),
  'openai.missing_model': () =>
    refused(OpenAI.NotFoundError, 404, 'model_not_found', () => chat(prompt(), { model: options['missing-model'] })),
  'openai.denied_model': () =>
    refused(OpenAI.PermissionDeniedError, 403, null, () => chat(prompt(), { model: options['denied-model'] })),
  async 'openai.budget'() {
    const call = (stream) => () => chat(prompt(), { stream }, options['broke-key']);
    await refused(OpenAI.RateLimitError, 429, 'insufficient_quota', call(true));
    return refused(OpenAI.RateLimitError, 429, 'insufficient_quota', call(false));
  },

  async 'anthropic.models'() {
    const names = (await collect(anthropic().models.list())).map((model) => model.id);
    assert(names.includes(options['anthropic-model']), names.join());
  },
  async 'anthropic.model!'() {
    assert.equal((await anthropic().models.retrieve(options['anthropic-model'])).type, 'model');
  },
  async 'anthropic.message'() {
    const answer = await message(prompt({ text: TEXT }), { system: 'Be brief.' });
    checkText(answer.content[0].text);
    assert.match(answer.stop_reason, /^(end_turn|max_tokens)$/);
    const { input_tokens, output_tokens } = answer.usage;
    if (!options.plain) assert.deepEqual([input_tokens, output_tokens], [21, 9]);
  },
  async 'anthropic.stream'() {
    const events = await collect(await message(prompt({ text: TEXT, chunks: 5 }), { stream: true }));
    const kinds = events.map((event) => event.type).filter((kind) => kind !== 'ping');
    assert.deepEqual(kinds.slice(0, 2), ['message_start', 'content_block_start']);
    assert.deepEqual(kinds.slice(-3), ['content_block_stop', 'message_delta', 'message_stop']);
    const deltas = events.filter((event) => event.type === 'content_block_delta').map((event) => event.delta);
    checkText(deltas.map((delta) => delta.text ?? '').join(''));
    const end = events.find((event) => event.type === 'message_delta');
    if (!options.plain) assert.equal(end.usage.output_tokens, 9);
  },
  async 'anthropic.stream_helper'() {
    const messages = prompt({ text: TEXT, thinking: 'Hm. Hm.' });
    const stream = anthropic().messages.stream({ model: options['anthropic-model'], max_tokens: 16, messages });
    const final = await stream.finalMessage();
    checkText(final.content.filter((block) => block.type === 'text').map((block) => block.text).join(''));
    if (!options.plain) {
      assert.equal(final.content[0].thinking, 'Hm. Hm.');
      assert.deepEqual([final.usage.input_tokens, final.usage.output_tokens], [21, 9]);
    }
  },
  async 'anthropic.tools!'() {
    const answer = await message(toolPrompt(), anthropicTools());
    const [call] = answer.content;
    assert.deepEqual([answer.stop_reason, call.name, call.input], ['tool_use', 'weather', ARGUMENTS]);
  },
  async 'anthropic.tools_stream!'() {
    const request = { model: options['anthropic-model'], max_tokens: 16, messages: toolPrompt(), ...anthropicTools() };
    const final = await anthropic().messages.stream(request).finalMessage();
    const [call] = final.content;
    assert.deepEqual([final.stop_reason, call.name, call.input], ['tool_use', 'weather', ARGUMENTS]);
  },
  async 'anthropic.count_tokens'() {
    const counted = await anthropic().messages.countTokens({ model: options['anthropic-model'], messages: prompt() });
    if (options.plain || options.translated) assert(counted.input_tokens > 0);
    else assert.equal(counted.input_tokens, 21);
  },
  'anthropic.bad_key': () =>
    refused(Anthropic.AuthenticationError, 401, 'authentication_error', () => message(prompt(), {}, options['bad-key'])),
  'anthropic.missing_model': () =>
    refused(Anthropic.NotFoundError, 404, 'not_found_error', () => message(prompt(), { model: options['missing-model'] })),
  'anthropic.denied_model': () =>
    refused(Anthropic.PermissionDeniedError, 403, 'permission_error', () =>
      message(prompt(), { model: options['denied-model'] })),
  async 'anthropic.budget'() {
    const expected = Anthropic.PaymentRequiredError ?? Anthropic.APIError;
    const call = (stream) => () => message(prompt(), { stream }, options['broke-key']);
    await refused(expected, 402, 'billing_error', call(true));
    return refused(expected, 402, 'billing_error', call(false));
  },
};

/** `*` stands for anything. */
const matches = (name, pattern) =>
  new RegExp(`^${pattern.split('*').map((part) => part.replace(/[.\\]/g, '\\$&')).join('.*')}$`).test(name);

let failed = false;
let ran = 0;
for (const [key, run] of Object.entries(scenarios)) {
  // A name that ends in `!` needs scripted answers.
  const name = key.replace('!', '');
  const isWanted = wanted.length === 0 || wanted.some((pattern) => matches(name, pattern));
  if (!isWanted || (options.plain && key.endsWith('!'))) continue;
  ran += 1;
  if (options.list) {
    console.log(name);
    continue;
  }
  let [ok, detail] = [true, ''];
  try {
    detail = (await run()) ?? '';
  } catch (error) {
    [ok, detail] = [false, `${error.constructor.name}: ${error.message}`];
  }
  failed ||= !ok;
  console.log(JSON.stringify({ name: `node.${name}`, ok, detail }));
}
assert(ran > 0, `no such scenario: ${wanted.join(' ')}`);
process.exitCode = failed ? 1 : 0;
