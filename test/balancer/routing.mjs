/** Which replica gets what: one for each variant, the next one for what is too much for it, and the balancer's own errors. */
import { Agent } from 'node:http';
import { ADMIN_TOKEN, MAX_BODY_BYTES } from './cluster.mjs';
import { Load, MIXED, SLOW, send } from './load.mjs';

/** Times each request is sent. */
const ROUNDS = 8;
/** Wrong tokens: past the limit of both replicas. */
const GUESSES = 40;
/** Clients of one variant at once: more than one replica takes. */
const CROWD = 160;
const MODELS = ['mnist-lenet', 'cifar10-resnet20'];

/** Which variant a budget ends in the balancer cannot know, so those requests stay out of this. */
const NAMED = MIXED.filter(({ path }) => !path.includes('max_'));

export async function locality(cluster, report) {
  const before = await Promise.all(cluster.replicas.map(residents));
  const load = new Load(cluster.url, NAMED);
  while (load.sent < ROUNDS * NAMED.length) await new Promise((resolve) => setTimeout(resolve, 20));
  await load.stop();
  const after = await Promise.all(cluster.replicas.map(residents));
  const added = after.map((names, i) => names.filter((name) => !before[i].includes(name)));
  const all = new Set(after.flat());
  const twice = added[0].filter((name) => added[1].includes(name));
  report.add('mixed load is answered', `${load.sent} requests, ${tally(load)}`, load.failures.length === 0);
  report.add(
    'a variant is on one replica',
    `${added.map((names) => names.length).join(' + ')} made on demand of ${all.size}, ${twice.length} on both`,
    twice.length === 0 && added.every((names) => names.length > 0 && names.length < all.size - 1),
  );
}

/** Names of the variants that a replica holds. */
async function residents(replica) {
  const lists = await Promise.all(MODELS.map((model) => replica.get(`/models/${model}/variants`)));
  return lists.flatMap(({ variants }, i) =>
    variants.map(({ bits, activation_bits }) => `${MODELS[i]} ${bits}x${activation_bits}`),
  );
}

/** More at once of one variant than its replica takes. */
export async function crowd(cluster, report) {
  const from = await cluster.logged();
  const agent = new Agent({ keepAlive: true, maxSockets: CROWD });
  const answers = [];
  for (let round = 0; round < 3; round++) {
    answers.push(...(await Promise.all(Array.from({ length: CROWD }, () => send(cluster.url, SLOW, agent)))));
  }
  agent.destroy();
  const bad = answers.filter(({ status }) => status !== 200).length;
  const lines = await cluster.log(from);
  const shares = cluster.replicas.map(({ address }) => lines.filter(({ replica }) => replica.endsWith(address)).length);
  report.add(
    `${CROWD} at once of one variant spill over`,
    `${answers.length} requests, ${bad} failed, replicas answered ${shares.join(' and ')}`,
    bad === 0 && shares.every((share) => share > 0),
  );
}

/** What the balancer answers itself, and that ids and limits are the service's. */
export async function edges(cluster, report) {
  const id = 'balancer-test.1';
  const { headers } = await send(cluster.url, { method: 'GET', path: '/models', headers: { 'x-request-id': id } });
  report.add('a request id comes back', `${headers['x-request-id']}`, headers['x-request-id'] === id);
  const forged = await send(cluster.url, { method: 'GET', path: '/models', headers: { 'x-request-id': 'a b"c' } });
  const made = forged.headers['x-request-id'];
  report.add('a forged one does not', `${made}`, /^[\w-]{32,36}$/.test(made));

  const raw = { 'content-type': 'application/octet-stream' };
  const tooLarge = await send(cluster.url, { path: '/predict', headers: raw, body: Buffer.alloc(MAX_BODY_BYTES + 1) });
  const largest = await send(cluster.url, { path: '/predict', headers: raw, body: Buffer.alloc(MAX_BODY_BYTES) });
  const codes = [tooLarge, largest].map(said).join(', ');
  report.add(
    'MAX_BODY_BYTES is the limit',
    codes,
    codes === '413 body_too_large, 400 wrong_shape' || /^413 body_too_large, 400 batch_too_large$/.test(codes),
  );
  const oip = await send(cluster.url, {
    path: '/v2/models/m/infer',
    headers: raw,
    body: Buffer.alloc(MAX_BODY_BYTES + 1),
  });
  report.add('in the words of the protocol', `${oip.status} ${oip.body}`, oip.status === 413 && json(oip.body).error);
  const long = await send(cluster.url, { method: 'GET', path: '/models', headers: { x: 'y'.repeat(20_000) } });
  const unreadable = await send(cluster.url, { method: 'GET', path: '/%zz' });
  const own = [long, unreadable].map(said).join(', ');
  report.add('what nginx refuses is a problem', own, own === '431 headers_too_large, 400 bad_request');
  const types = [tooLarge, long, unreadable, oip].map(({ headers }) => headers['content-type']);
  const problem = 'application/problem+json';
  report.add(
    'of the type that it is',
    [...new Set(types)].join(', '),
    types.join() === [problem, problem, problem, 'application/json'].join(),
  );
  const metrics = await send(cluster.url, { method: 'GET', path: '/metrics' });
  report.add('metrics are each replica’s own', `${metrics.status}`, metrics.status === 404);
}

/** A client is its address, as nginx says it, whatever it says of itself: one that guesses tokens is refused, another one is not. */
export async function clients(cluster, report) {
  const ask = (localAddress, token, forwarded) =>
    send(cluster.url, {
      method: 'GET',
      path: '/admin/jobs',
      headers: { authorization: `Bearer ${token}`, 'x-forwarded-for': forwarded },
      localAddress,
    });
  // each replica counts for itself
  for (let i = 0; i < GUESSES; i++) await ask('127.0.0.2', `guess-${i}`, `192.0.2.${i}`);
  const guesser = [await ask('127.0.0.2', ADMIN_TOKEN, '127.0.0.3'), await ask('127.0.0.2', ADMIN_TOKEN, '192.0.2.77')];
  const other = [await ask('127.0.0.3', ADMIN_TOKEN, '127.0.0.2'), await ask('127.0.0.3', ADMIN_TOKEN, '127.0.0.2')];
  const [refused, taken] = [guesser, other].map((answers) => answers.map(({ status }) => status).join(', '));
  report.add(
    'who guesses tokens is refused, nobody else',
    `${refused} and ${taken}`,
    refused === '429, 429' && taken === '200, 200',
  );
}

const said = ({ status, body }) => `${status} ${json(body).code}`;

function json(body) {
  try {
    return JSON.parse(body.toString());
  } catch {
    return {};
  }
}

export function tally({ statuses }) {
  return Object.entries(statuses)
    .map(([status, count]) => `${count} × ${status}`)
    .join(', ');
}
