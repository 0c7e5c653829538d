// One agent a folder (S-103): two would hand out the same ids. Real agents on one --bpffs, in one network namespace
// and in others.
//
//   node   sluice, manifests with one service; no traffic: this is about who may load what
import { existsSync, readFileSync, rmSync } from 'node:fs';
import t from 'tap';
import { Agent, placeFlags, sluice, sluiceCommand } from '../support/lab/agent.ts';
import { echoDocuments, echoService } from '../support/lab/echo.ts';
import { until } from '../support/run/process.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(180_000);
const { node, folder, startAgent } = await oneNode(t);
folder.put('web.yaml', echoDocuments(echoService('web', 10), [{ address: '10.1.0.1' }]));
let agent = await startAgent();

const second = [
  ...['agent', '--manifests', folder.path, '--node-name', 'second', '--socket-hooks', 'off'],
  ...['--api-address', '127.0.0.1:9971', '--healthz-bind-address', '127.0.0.1:0', ...placeFlags(node)],
];

/** The process named in the error runs an agent on this folder. */
function namesTheFirst(stderr: string): boolean {
  const pid = /SLB_E_LOCKED: .* is locked by process (\d+)/.exec(stderr)?.[1] ?? '0';
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(node.bpffs) && agent.running;
}

t.test('a second agent on one folder ends with a coded error that names the first', async (t) => {
  const { code, stderr } = await sluice(node, ...second);
  t.equal(code, 1);
  t.match(stderr, /waiting for another agent on this node to stop/, 'it has given it time to end');
  t.ok(namesTheFirst(stderr), stderr);
  t.equal((await agent.get('/readyz')).status, 200, 'the first goes on');
});

t.test('also when it is in another pid, mount and network namespace', async (t) => {
  const apart = [
    'unshare',
    '--pid',
    '--fork',
    '--mount-proc',
    '--net',
    'sh',
    '-c',
    'ip link set lo up; exec "$@"',
    'sh',
  ];
  const command = [...apart, ...sluiceCommand(), ...second];
  const env = { ...process.env, NODE: process.execPath, NODE_OPTIONS: '' };
  const { code, stderr } = await node.netns.run(command, { mayFail: true, env });
  t.equal(code, 1);
  t.match(stderr, /SLB_E_LOCKED: .* is locked by a process in another pid namespace/);
});

t.test('clean is refused while an agent runs', async (t) => {
  const { code, stderr } = await sluice(node, 'clean', ...placeFlags(node));
  t.equal(code, 1);
  t.ok(namesTheFirst(stderr), stderr);
  t.ok(existsSync(node.bpffs));
});

t.test('a folder that was removed under an agent is locked again', async (t) => {
  rmSync(node.bpffs, { recursive: true });
  await node.netns.ip(['link add wake type veth peer name woken', 'link del wake']); // else looked at twice a minute
  await until('the folder', () => existsSync(node.bpffs));
  const { stderr } = await sluice(node, 'clean', ...placeFlags(node));
  t.ok(namesTheFirst(stderr), stderr);
});

t.test('after SIGKILL the next starts at once', async (t) => {
  await agent.kill();
  agent = await startAgent();
  t.notMatch(agent.log, /waiting for another agent/);
});

t.test('a new agent that starts before the old one has ended takes over when that has', async (t) => {
  const old = agent;
  const spawned = new Promise<Agent>((onSpawn) => void startAgent({ onSpawn }));
  agent = await spawned;
  await until('the next to wait', () => agent.log.includes('waiting for another agent'));
  await old.kill();
  await agent.until('readiness', () => Promise.resolve(agent.log.includes('"ready: ') || undefined));
  t.match(agent.log, /"adopted":true/);
});

t.test('clean --force goes ahead', async (t) => {
  const { code, stdout } = await sluice(node, 'clean', '--force', ...placeFlags(node));
  t.equal(code, 0);
  t.match(stdout, /removed .*maps/);
});
