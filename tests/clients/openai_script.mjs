// The unmodified OpenAI client of JavaScript against a service: node openai_script.mjs URL PICTURE FOLDER_OF_THE_CLIENT
import assert from 'node:assert/strict';
import { createReadStream, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [url, picture, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { OpenAI, toFile } = require('openai');
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });

async function ended(id) {
  for (;;) {
    const video = await client.videos.retrieve(id);
    if (['completed', 'failed'].includes(video.status)) return video;
    await new Promise((wake) => setTimeout(wake, 300));
  }
}

async function refused(status, code, param, call) {
  const error = await call().then(() => assert.fail(`not refused: ${code}`), (error) => error);
  assert.ok(error instanceof OpenAI.APIError, String(error));
  assert.deepEqual([error.status, error.code, error.param], [status, code, param]);
  assert.ok(error.requestID);
}

// A file as a stream, and to its end.
const submitted = await client.videos.create({
  prompt: 'pan left', seconds: '1', input_reference: createReadStream(picture), num_inference_steps: 1,
});
assert.equal(submitted.object, 'video');
const video = await ended(submitted.id);
assert.deepEqual([video.status, video.progress, video.error, video.seconds], ['completed', 100, null, '1']);
const content = await client.videos.downloadContent(video.id);
assert.equal(content.headers.get('content-type'), 'video/mp4');
assert.equal(Buffer.from(await content.arrayBuffer()).toString('latin1', 4, 8), 'ftyp');
for (const variant of ['thumbnail', 'spritesheet']) {
  const still = Buffer.from(await (await client.videos.downloadContent(video.id, { variant })).arrayBuffer());
  assert.equal(still.readUInt16BE(0), 0xffd8);
}

// Those that come next wait for it.
const slow = { num_inference_steps: 50 };
// A picture by data URL, in the form of this client: input_reference[image_url].
const image_url = `data:image/jpeg;base64,${readFileSync(picture).toString('base64')}`;
const by_url = await client.videos.create({ prompt: 'pan right', input_reference: { image_url }, ...slow });
const named = await client.videos.create({ prompt: 'p', input_reference: await toFile(readFileSync(picture), 'upload') });
const remix = await client.videos.remix(by_url.id, { prompt: 'zoom in' });
assert.deepEqual([remix.remixed_from_video_id, remix.prompt], [by_url.id, 'zoom in']);
for (const { id } of [remix, named, by_url]) await client.post(`/videos/${id}/cancel`);
assert.equal((await ended(remix.id)).error.code, 'cancelled');

const ids = [];
for await (const row of client.videos.list({ limit: 2 })) ids.push(row.id);
assert.deepEqual(ids.slice(0, 4), [remix.id, named.id, by_url.id, video.id]);

const input_reference = () => createReadStream(picture);
await refused(400, 'invalid_parameter', 'num_frames', () =>
  client.videos.create({ prompt: 'p', num_frames: 99, input_reference: input_reference() }));
await refused(400, 'url_not_allowed', 'input_reference', () =>
  client.videos.create({ prompt: 'p', input_reference: { image_url: 'http://127.0.0.1/x.png' } }));
await refused(404, 'video_not_found', null, () => client.videos.retrieve('video_unknown'));
await refused(409, 'video_failed', null, () => client.videos.downloadContent(remix.id));

for (const id of ids) assert.ok((await client.videos.delete(id)).deleted);
const { version } = JSON.parse(readFileSync(`${folder}/node_modules/openai/package.json`));
console.log(JSON.stringify({ version }));
