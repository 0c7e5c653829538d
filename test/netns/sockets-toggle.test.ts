// Socket hooks that are switched on and off while sockets are open. All on one node:
//
//   pod, and host on the node itself     clients
//   a, b, c                              backends of the service
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { native } from '../../native/index.ts';
import type { FlowPage, Status } from '../../src/api/bodies.ts';
import { attachTypes, socketHooks, type SocketHook } from '../../src/hooks/cgroupattach.ts';
import { Agent, placeFlags, sluice } from '../support/lab/agent.ts';
import { echoService, serveEcho, servicePort, verdicts } from '../support/lab/echo.ts';
import { families } from '../support/lab/lab.ts';
import { run, until } from '../support/run/process.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(240_000);
const { node, folder, offer, startAgent } = await oneNode(t);
const pod = await node.pod('pod');
const backends = [await node.pod('a'), await node.pod('b'), await node.pod('c', 'ptp')];
await serveEcho(backends);
const web = echoService('web', 10);
offer(web, backends);

const cgroup = node.cgroup ?? '';
const programs = (hook: SocketHook): string[] =>
  native()
    .queryCgroup(cgroup, attachTypes[hook])
    .programs.map(({ name }) => name);

let agent: Agent | undefined;
async function restart(socketHooks: 'on' | 'off', how: 'stop' | 'kill' = 'stop'): Promise<Agent> {
  await agent?.[how]();
  agent = await startAgent({ socketHooks, flags: ['--xdp', 'off'] });
  return agent;
}

const clients = { pod, host: node } as const;
const where = (family: 'v4' | 'v6') => ({ host: web[family], port: servicePort });
const asked = (family: 'v4' | 'v6'): string => `${web[family]} ${String(servicePort)}`;

/** Sockets of every sort, each with the service as its peer. */
async function openAll(t: Test, when: string) {
  const opened = [];
  for (const [name, { actor }] of Object.entries(clients)) {
    for (const family of families) {
      const tcp = await actor.call('open', where(family));
      t.equal(tcp.peer, asked(family), `${when}: what ${name}'s getpeername says`);
      const udp = await actor.call('openUdp', where(family));
      const loose = await actor.call('openLoose', { type: family === 'v4' ? 'udp4' : 'udp6' });
      opened.push({ name: `${name} ${family}`, actor, family, tcp, udp, loose });
    }
  }
  return opened;
}
type Opened = Awaited<ReturnType<typeof openAll>>;

async function useAll(t: Test, opened: Opened, when: string): Promise<void> {
  for (const { name, actor, family, tcp, udp, loose } of opened) {
    t.equal(await actor.call('ask', { id: tcp.id, text: when }), when, `${when}: TCP of ${name}`);
    const connected = await actor.call('askUdp', { id: udp.id, text: when });
    t.equal(connected.payload, when, `${when}: connected UDP of ${name}`);
    const { from, payload } = await actor.call('askLoose', { id: loose, ...where(family), text: when });
    t.strictSame(
      { from, payload },
      { from: asked(family), payload: when },
      `${when}: unconnected UDP of ${name}`,
    );
  }
}

async function shutAll(opened: Opened): Promise<void> {
  for (const { actor, tcp, udp, loose } of opened) {
    await actor.call('shut', { id: tcp.id });
    await actor.call('shutUdp', { id: udp.id });
    await actor.call('shutUdp', { id: loose });
  }
}

/** Connections opened while `change` goes on: none may fail. */
async function underLoad<T>(t: Test, change: () => Promise<T>): Promise<T> {
  for (const { actor } of Object.values(clients))
    await actor.call('startLoad', { ...where('v4'), steady: 5, short: 3 });
  const result = await change();
  for (const [name, { actor }] of Object.entries(clients)) {
    const { errors, opened, echoes } = await actor.call('stopLoad');
    t.strictSame(errors, {}, `${name}: ${String(opened)} connections, ${String(echoes)} echoes`);
    t.ok(opened > 10, `${name}: there was a load`);
  }
  return result;
}

t.test('off, on, off: sockets opened in each state live on in the others (S-52, S-81, S-89)', async (t) => {
  await restart('off');
  const early = await openAll(t, 'opened without hooks');
  await underLoad(t, () => restart('on'));
  await useAll(t, early, 'without hooks, now with');
  const pointed = await openAll(t, 'opened with hooks');
  await useAll(t, pointed, 'with hooks');
  await underLoad(t, () => restart('off'));
  t.strictSame([...programs('connect4'), ...programs('sendmsg6')], [], 'nothing is pointed any more');
  t.strictSame(programs('recvmsg4'), ['slb_recvmsg4'], 'answers of those that were still find their names');
  await useAll(t, pointed, 'with hooks, now without');
  await useAll(t, early, 'without hooks, on and off again');
  const late = await openAll(t, 'opened without hooks again');
  await useAll(t, late, 'without again');
  await shutAll([...early, ...pointed, ...late]);
});

t.test('after the last of them is closed, the remaining programs are detached', async (t) => {
  const off = await restart('off');
  t.strictSame(programs('recvmsg4'), []);
  const { socketHooks } = await off.json<Status>('/v1/status');
  t.match(socketHooks, { state: 'off' });
});

t.test('while the agent is killed and restarted every connect() is translated (S-104)', async (t) => {
  const first = await restart('on');
  const held = await openAll(t, 'before');
  const before = await verdicts(first);
  const { id } = native().openPinnedLink(
    join(node.bpffs, 'links', `connect4-${String(native().cgroupId(cgroup))}`),
  );
  const next = await underLoad(t, async () => {
    await first.kill();
    const tally = await pod.actor.call('crowd', { ...where('v4'), connections: 100 });
    t.strictSame(tally.errors, {}, 'the kernel goes on alone');
    return restart('on', 'kill');
  });
  const again = native().openPinnedLink(
    join(node.bpffs, 'links', `connect4-${String(native().cgroupId(cgroup))}`),
  );
  t.equal(again.id, id, 'the same link, with another program');
  const after = await verdicts(next);
  t.ok((after['SOCKET_NEW'] ?? 0) > (before['SOCKET_NEW'] ?? 0) + 100);
  t.equal(after['REQUEST_NEW'], before['REQUEST_NEW'], 'not one went by packets');
  await useAll(t, held, 'after');
  await shutAll(held);
});

t.test('a cgroup program of another owner that was attached exclusively (S-107)', async (t) => {
  await agent?.stop();
  t.equal((await sluice(node, 'clean', ...placeFlags(node))).code, 0);
  const stranger = native().loadProgram({
    ...{ type: 18, expectedAttachType: attachTypes.connect4, name: 'stranger' },
    instructions: Uint8Array.of(0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0), // r0 = 1; exit
  });
  const pin = `${node.bpffs}-stranger`;
  stranger.pin(pin);
  await run(['bpftool', 'cgroup', 'attach', cgroup, 'connect4', 'pinned', pin]);
  const place = [...placeFlags(node), '--manifests', folder.path, '--node-name', node.name];
  const refused = await sluice(node, 'agent', ...place, '--socket-hooks', 'on');
  t.equal(refused.code, 1);
  t.match(refused.stderr, /SLB_E_SOCKETS.*program stranger \(id \d+\) at .* allows no other programs/);

  const flags = ['--socket-hooks', 'auto', '--xdp', 'off'];
  agent = await startAgent({ flags });
  const guest = agent;
  const { socketHooks, errors } = await guest.json<Status>('/v1/status');
  t.match(socketHooks, { state: 'off', detail: /stranger/ });
  t.match(errors, [{ code: 'SLB_E_SOCKETS' }], 'operators are told');
  t.strictSame(programs('connect4'), ['stranger'], 'and it stays attached');
  const held = await openAll(t, 'by packets');
  await useAll(t, held, 'by packets');
  await run(['bpftool', 'cgroup', 'detach', cgroup, 'connect4', 'pinned', pin]);
  await node.netns.ip(['link add wake type veth peer name woken', 'link del wake']); // else looked at twice a minute
  await until('the hooks', () => programs('connect6').length > 0 || undefined);
  await useAll(t, held, 'by packets, now with hooks');
  await shutAll(held);
});

t.test('sluice clean removes everything; translated connections go on (S-107)', async (t) => {
  const last = await restart('on');
  const held = await pod.actor.call('open', where('v4'));
  const flows = await last.json<FlowPage>('/v1/flows');
  const pointed = flows.flows.filter(({ via }) => via === 'socket');
  t.match(pointed, [{ protocol: 'TCP', frontend: { address: web.v4, port: servicePort } }]);
  await last.stop();
  const { code, stdout } = await sluice(node, 'clean', ...placeFlags(node));
  t.equal(code, 0);
  t.match(stdout, /connect4-\d+/);
  for (const hook of socketHooks) t.strictSame(programs(hook), []);
  t.notOk(existsSync(join(node.bpffs, 'links')));
  t.equal(await pod.actor.call('ask', { id: held.id, text: 'still' }), 'still');
  agent = undefined;
});
