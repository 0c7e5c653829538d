// make demo: services in front of three web servers, in namespaces of this machine; which client address the servers see, and what happens when
// one is removed from a service, and when one dies. Says what it promises, checks it, cleans up. KEEP=1 leaves it running;
// --clean sweeps that.
import type { ServiceDetail } from '../../src/api/bodies.ts';
import type { HttpTally } from '../../test/support/actors/http.ts';
import { sluice } from '../../test/support/lab/agent.ts';
import { leaveBehind, ownAs, sweepDead } from '../../test/support/run/owner.ts';
import { end } from '../../test/support/run/process.ts';
import { backendNames, buildNetwork, drawing, type Network } from './network.ts';
import { showSockets } from './inside.ts';
import { showClients, stay } from './outside.ts';
import { bars, grouped, oneLine, promise, say, sum, title, verdict, waitFor } from './print.ts';
import { startWeb, type WebServer } from './web.ts';

const address = '10.96.0.80';
const url = `http://${address}/`;
const concurrency = 20;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function spread({ client }: Network): Promise<void> {
  const requests = 3000;
  title(`${grouped(requests)} requests to ${url}, each on a connection of its own`);
  const begin = performance.now();
  const { answers, errors } = await client.actor.call('barrage', { url, requests, concurrency });
  const seconds = (performance.now() - begin) / 1000;
  say(bars(backendNames, answers));
  say(`${grouped(sum(answers))} answered, ${grouped(sum(errors))} failed, in ${seconds.toFixed(1)} s`);
  promise(sum(answers) === requests && sum(errors) === 0, `all ${grouped(requests)} requests are answered`);
  for (const name of backendNames) {
    const share = (answers[name] ?? 0) / (requests / backendNames.length);
    promise(Math.abs(share - 1) <= 0.15, `${name} gets a third, give or take 15 %`);
  }
}

async function askAgent({ node, agent }: Network): Promise<void> {
  title('The same, as counted in the kernel');
  const { code, stdout } = await sluice(node, 'services', 'demo/web');
  say('$ sluice services demo/web\n');
  say(stdout.trimEnd());
  promise(code === 0, 'sluice services answers');
  const { backends } = await agent.json<ServiceDetail>('/v1/services/demo/web');
  const counted = backends.reduce((total, { counters }) => total + counters.connections, 0);
  promise(counted === 3000, `the API counts 3 000 connections, not ${String(counted)}`);
}

/** Waits until the agent offers as many backends to new connections. */
function untilBackends({ agent }: Network, expected: number): Promise<true> {
  return agent.until(`${String(expected)} backends`, async () => {
    const { ports } = await agent.json<ServiceDetail>('/v1/services/demo/web');
    return ports[0]?.backends === expected ? true : undefined;
  });
}

/** Opens downloads until the wanted backend serves one; the choice is the service's, not ours. */
async function downloadFrom({ client }: Network, wanted: string): Promise<number> {
  for (let tries = 0; tries < 50; tries++) {
    const { id, backend } = await client.actor.call('download', { url: `${url}download` });
    if (backend === wanted) return id;
    await client.actor.call('finish', { id, abandon: true });
  }
  throw new Error(`50 downloads, none from ${wanted}`);
}

async function removeGreen(network: Network): Promise<void> {
  const { client, manifests, web } = network;
  title('green leaves the manifest while requests run, in the middle of a download from it');
  const download = await downloadFrom(network, 'green');
  await client.actor.call('startRequests', { url, concurrency });
  await sleep(400);
  const before = await client.actor.call('nextWindow');
  manifests.removeEndpoint(web.green.pod.v4);
  await untilBackends(network, 2);
  const during = await client.actor.call('nextWindow');
  const atRemoval = await client.actor.call('downloaded', { id: download });
  await sleep(400);
  const after = await client.actor.call('stopRequests');
  const { bytes, whole } = await client.actor.call('finish', { id: download });
  say(`before    ${oneLine(backendNames, before)}`);
  say(`changing  ${oneLine(backendNames, during)}`);
  say(`after     ${oneLine(backendNames, after)}`);
  const percent = Math.floor((100 * atRemoval) / bytes);
  say(
    `download  ${String(percent)} % done when green was removed; ${whole ? 'complete in the end' : 'broken off'}`,
  );
  promise((before.answers['green'] ?? 0) > 0, 'green serves before it is removed');
  promise(after.answers['green'] === undefined, 'no new connection reaches green once it is removed');
  promise(sum(after.answers) > 0, 'the others go on serving');
  promise(failures(before, during, after) === 0, 'removing an endpoint costs no request');
  promise(whole && percent < 100, 'the download from green goes on to its end');
}

const failures = (...tallies: HttpTally[]): number =>
  tallies.reduce((total, { errors }) => total + sum(errors), 0);

async function killBlue(network: Network): Promise<void> {
  const { client, manifests, web } = network;
  title("blue's nginx is killed while requests run; its endpoint leaves the manifest a little later");
  await client.actor.call('startRequests', { url, concurrency });
  await sleep(300);
  const before = await client.actor.call('nextWindow');
  await end(web.blue.child, 'SIGKILL');
  await sleep(300);
  manifests.removeEndpoint(web.blue.pod.v4);
  await untilBackends(network, 1);
  const dead = await client.actor.call('nextWindow');
  await sleep(300);
  const after = await client.actor.call('stopRequests');
  say(`before    ${oneLine(backendNames, before)}`);
  say(`killed    ${oneLine(backendNames, dead)}`);
  say(`removed   ${oneLine(backendNames, after)}`);
  const cost = failures(dead);
  say(
    `${grouped(cost)} requests failed: those that were sent to the killed server before its endpoint was removed.`,
  );
  promise((before.answers['blue'] ?? 0) > 0, 'blue serves before it is killed');
  promise(failures(before) === 0, 'nothing fails before blue is killed');
  promise(
    failures(after) === 0 && (after.answers['red'] ?? 0) > 0,
    'nothing fails once its endpoint is gone',
  );
}

const children = ({ web }: Network): WebServer[] => Object.values(web);

/** Puts everything back as it was at the start, and says what to try. */
async function keep(network: Network): Promise<void> {
  const { client, node, manifests, web } = network;
  manifests.restore();
  const blue = await startWeb(web.blue.pod);
  await untilBackends(network, 3);
  for (const { child } of [...children(network), blue]) child.unref();
  network.agent.unref();
  leaveBehind();
  const client$ = `nsenter --net=${client.netns.path}`;
  const node$ = `nsenter --net=${node.netns.path}`;
  title('It stays, with all three backends back. Try:');
  say(`${client$} curl http://${address}/ http://${network.node.v4}:30082/who`);
  say(`${node$} bin/sluice status`);
  say(`${node$} bin/sluice services demo/web`);
  say(`${node$} bin/sluice flows`);
  say(`edit ${manifests.file} and ask again`);
  say(`tail ${network.agent.logFile}`);
  say();
  say('npm run demo -- --clean     ends and removes it');
}

async function tearDown({ lab, agent, web }: Network): Promise<void> {
  await agent.stop();
  await Promise.all(Object.values(web).map(({ child }) => end(child)));
  await lab.close();
}

async function main(): Promise<number> {
  ownAs('sluice-demo');
  waitFor('removing what an earlier demo has left');
  sweepDead();
  if (process.argv.includes('--clean')) return 0;
  const begin = performance.now();
  process.stdout.write(`Sluice: a service address in front of three web servers\n${drawing}\n`);
  const network = await buildNetwork();
  await spread(network);
  await askAgent(network);
  await showClients(network);
  await stay(network);
  await showSockets(network, address);
  await removeGreen(network);
  await killBlue(network);
  say();
  waitFor('taking the network down');
  const code = verdict((performance.now() - begin) / 1000);
  if (process.env['KEEP'] === '1' && code === 0) await keep(network);
  else await tearDown(network);
  return code;
}

try {
  process.exit(await main());
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
