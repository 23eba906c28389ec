/** The operator: trains, follows, cancels, publishes, rolls back, drops; remembers what was promised. */
import { setTimeout as sleep } from 'node:timers/promises';
import { activation, conv2d, dense, flatten, sequential } from '../../dist/src/training/architectures/topology.js';
import { tarOf } from '../../dist/test/support/archives.js';
import { imageFiles, shades } from '../../dist/test/support/data-files.js';
import { send } from '../balancer/load.mjs';

export const MODEL = 'shades';
const ENDED = ['succeeded', 'failed', 'cancelled'];

/** Small enough that a training and its evaluation take a second. */
const architecture = sequential(
  'net',
  [8, 8, 3],
  [
    conv2d('conv', 4, 3, 'same', 'relu'),
    flatten('flat'),
    dense('logits', 2, 'linear'),
    activation('softmax', 'softmax'),
  ],
);

export class Operator {
  constructor(service, token, tally, random) {
    Object.assign(this, { service, tally, random, running: true, pauseMs: 400 });
    this.headers = { authorization: `Bearer ${token}` };
    /** Ids of accepted jobs. */
    this.jobs = [];
    /** What was asked for, by version number: digest. */
    this.versions = new Map();
    this.cancels = 0;
    this.moves = 0;
    this.followed = 0;
  }

  /** One request of the operator; its status and its JSON. */
  async ask(method, path, value, headers = {}) {
    const body = value === undefined ? undefined : Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value));
    const type = body && !headers['content-type'] ? { 'content-type': 'application/json' } : {};
    const answer = await send(this.service.url, {
      method,
      path,
      headers: { ...this.headers, ...type, ...headers },
      body,
    });
    let json = null;
    try {
      json = JSON.parse(answer.body);
    } catch {
      // cut, or a stream
    }
    return { status: answer.status, json, text: answer.body?.toString() };
  }

  async upload() {
    const images = await imageFiles({ dark: shades(40, 0, 70), light: shades(40, 180, 250) });
    const archive = tarOf(Object.entries(images).map(([name, data]) => ({ name, data })));
    const { status, text } = await this.ask('POST', `/admin/datasets?name=${MODEL}`, archive, {
      'content-type': 'application/x-tar',
    });
    if (status !== 201) throw new Error(`upload: ${status} ${text}`);
  }

  /** A training of a second, or of as many as it is left alone. */
  training({ epochs = 4, publish = true } = {}) {
    return {
      model: MODEL,
      dataset: MODEL,
      architecture,
      image_size: 8,
      epochs,
      batch_size: 16,
      learning_rate: 0.02,
      regularizer: { kind: this.random() < 0.5 ? 'none' : 'gradient-l1' },
      seed: Math.floor(this.random() * 1e6),
      publish,
    };
  }

  start() {
    this.loops = [this.#trainings(), this.#publishes()];
  }

  async #trainings() {
    while (this.running) {
      const cancel = this.random() < 0.3;
      const publish = this.random() < 0.7;
      const { status, json, text } = await this.ask(
        'POST',
        '/admin/train',
        this.training({ epochs: cancel ? 500 : 4, publish }),
      );
      this.tally.add('training', status, status === 202, text);
      if (status === 202) await this.#follow(json.job.id, cancel);
      await sleep(this.pauseMs * this.random());
    }
  }

  async #follow(id, cancel) {
    this.jobs.push(id);
    if (cancel) {
      await sleep(1500 * this.random());
      const { status, text } = await this.ask('DELETE', `/admin/jobs/${id}`);
      this.tally.add('cancel', status, status === 202 || status === 200 || status === 409, text);
      this.cancels++;
    }
    if (this.random() < 0.5) {
      const { status, text } = await this.ask('GET', `/admin/jobs/${id}/events`);
      this.tally.add('events', status, status === 200 || status === 204, text);
      this.followed++;
    }
    // a cancelled training that never ends is found at the end of the run
    for (let i = 0; this.running && i < 600 && !(await this.ended(id)); i++) await sleep(100);
  }

  async ended(id) {
    const { json } = await this.ask('GET', `/admin/jobs/${id}`);
    return ENDED.includes(json?.job?.state) ? json.job : null;
  }

  /** Back and forth between the versions that there are, and variants dropped. */
  async #publishes() {
    while (this.running) {
      await sleep(2 * this.pauseMs * this.random());
      const { status, json } = await this.ask('GET', '/models');
      const entry = json?.models?.find(({ name }) => name === MODEL);
      if (status !== 200 || !entry) continue;
      for (const { version, digest } of entry.versions) this.versions.set(version, digest);
      const { version } = entry.versions[Math.floor(this.random() * entry.versions.length)];
      const moved = await this.ask('POST', `/admin/models/${MODEL}/current`, { version });
      this.tally.add('publish', moved.status, moved.status === 200, moved.text);
      this.moves++;
      const query = `model=${MODEL}&version=${version}&bits=${2 + Math.floor(this.random() * 7)}`;
      const headers = { 'content-type': 'application/octet-stream' };
      const asked = await this.ask('POST', `/predict?${query}`, Buffer.alloc(192, 30), headers);
      this.tally.add(
        'version',
        asked.status,
        asked.status === 200 && asked.json?.digest === this.versions.get(version),
        asked.text,
      );
      if (this.random() < 0.1) {
        const dropped = await this.ask('DELETE', '/admin/models/mnist-lenet/variants');
        this.tally.add('drop', dropped.status, dropped.status === 200, dropped.text);
      }
    }
  }

  async stop() {
    this.running = false;
    await Promise.all(this.loops);
  }

  /** Waits for every accepted job; those that did not end, and how the others did. */
  async outcome(ms = 120_000) {
    const states = {};
    const open = [];
    for (const id of this.jobs) {
      let job = await this.ended(id);
      for (const end = performance.now() + ms; !job && performance.now() < end; await sleep(200))
        job = await this.ended(id);
      if (job) states[job.state] = (states[job.state] ?? 0) + 1;
      else open.push(id);
    }
    return { states, open };
  }
}
