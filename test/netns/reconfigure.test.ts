// The configuration file changes under a running agent: it restarts inside its process, and no connection is lost.
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { echoService, faults, noFaults, serveEcho, servicePort } from '../support/lab/echo.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(180_000);
const { pods, offer, startAgent } = await oneNode(t);
const [a, dora] = await pods('a', 'dora');
await serveEcho([a]);
const web = echoService('web', 10);
offer(web, [a]);
const config = path.join(t.testdir(), 'sluice.yaml');
writeFileSync(config, 'logLevel: info\n');
const agent = await startAgent({ flags: ['--config', config] });

const starts = (): number => agent.log.split('"agent.starting"').length - 1;
const descriptors = (): number => readdirSync(`/proc/${agent.pid}/fd`).length;

/** Waits until the agent has begun for the `nth` time, and is ready again. */
async function begun(nth: number): Promise<void> {
  await agent.until('the agent to begin anew', async () => {
    if (starts() < nth) return undefined;
    return (await agent.get('/readyz')).status === 200 ? true : undefined;
  });
}

t.test('a changed file: the same process, the new options, no connection lost (S-108)', async (t) => {
  const before = descriptors();
  for (const [nth, text] of [
    [2, 'logLevel: debug\n'],
    [3, 'logLevel: debug\nudpTimeout: 40s\n'],
    [4, 'logLevel: debug\nudpTimeout: 50s\n'],
  ] as const) {
    writeFileSync(config, text);
    const crowd = dora.actor.call('crowd', { host: web.v4, port: servicePort, connections: 40 });
    await begun(nth);
    t.strictSame(faults(await crowd), noFaults, 'connections meanwhile');
    t.ok(agent.running, 'it has not ended, so nothing counts it as a crash');
  }
  t.match(agent.log, /sluice\.yaml has changed/);
  t.match(agent.log, /"level":"debug"/, 'with the new options');
  t.ok(descriptors() < before + 16, `${before} descriptors before, ${descriptors()} after`);
});

t.test('an invalid file is refused, and a signal still stops the agent', async (t) => {
  const count = starts();
  writeFileSync(config, 'logLevel: loud\n');
  await agent.until('the refusal', async () =>
    Promise.resolve(agent.log.includes('loud') ? true : undefined),
  );
  t.equal(starts(), count);
  t.equal((await agent.get('/readyz')).status, 200);
  await agent.stop();
  t.notOk(agent.running);
  t.match(agent.log.trimEnd().split('\n').at(-1), /SIGTERM|stopp/);
});
