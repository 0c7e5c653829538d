// Which client reaches which endpoint, and with which source: every row of test/support/lab/matrix.ts as real
// connections between two nodes (drawn in test/support/lab/twonodes.ts), TCP and UDP, IPv4 and IPv6, with strict
// reverse path filters everywhere.
import t from 'tap';
import { Agent } from '../support/lab/agent.ts';
import { askMatrix, type Row } from '../support/lab/asktable.ts';
import { dropped, verdicts } from '../support/lab/echo.ts';
import { matrix, matrixDocuments } from '../support/lab/matrix.ts';
import { TwoAgents } from '../support/lab/twoagents.ts';

t.setTimeout(240_000);
const setup = await TwoAgents.start(t);
const { nodes, agents } = setup;
const { node1, node2 } = nodes;
setup.folder.put(
  'matrix.yaml',
  matrix.flatMap((service) => matrixDocuments(nodes, service)),
);
const last = matrix.at(-1)?.name ?? '';
await setup.settled(last, (body) => body !== undefined);

/** What each state of the endpoints is there to show. */
const rules: Readonly<Record<string, string>> = {
  both: 'ready on both nodes (S-10, S-11, S-12, S-39, S-52, S-53, S-57, S-58, S-59, S-63, S-64, S-65, S-67)',
  remote: 'ready on node2 alone: what node1 may not serve it drops, its own pods it serves (S-40, S-43)',
  draining: 'terminating on node1, ready on node2: local traffic still gets it (S-34, S-35)',
  ending: 'one that is terminating, and nothing else (S-34, S-35)',
  unready: 'neither ready nor serving: refused (S-36, S-44)',
  none: 'no endpoint: refused at once (S-43)',
  hosts: 'pods of hostNetwork on both nodes (S-41)',
  elsewhere: 'made by hand, outside the cluster (S-25, S-27, S-42)',
};

const found = (rows: readonly Row[]): object => Object.fromEntries(rows.map((row) => [row.name, row.found]));
const expected = (rows: readonly Row[]): object =>
  Object.fromEntries(rows.map((row) => [row.name, row.expected]));

const rows = await askMatrix(nodes);
for (const service of matrix) {
  const { name, state, internal, external } = service;
  t.test(`internal ${internal}, external ${external}, endpoints ${rules[state] ?? ''}`, async (t) => {
    const mine = rows.filter((row) => row.service === name);
    t.ok(mine.length >= 60, `${String(mine.length)} rows`);
    t.strictSame(found(mine), expected(mine));
  });
}

t.test('masqueraded traffic passes a firewall that forwards nothing (S-70)', async (t) => {
  const ruleset = `
    add table inet closed
    add chain inet closed forward { type filter hook forward priority 0; policy drop; }
  `;
  await node1.netns.run(['nft', '-f', '-'], { input: ruleset });
  const masqueraded = await askMatrix(nodes, {
    wanted: (service, { expected }) => service.state === 'both' && expected.endsWith(' node1'),
  });
  t.ok(masqueraded.length >= 60, `${String(masqueraded.length)} rows`);
  t.strictSame(found(masqueraded), expected(masqueraded));
  await node1.netns.run(['nft', 'delete', 'table', 'inet', 'closed']);
});

t.test('strict reverse path filters dropped no packet, nor did the programs (S-73)', async (t) => {
  for (const [i, node] of [node1, node2].entries()) {
    const { stdout } = await node.netns.run(['nstat', '-asz', 'TcpExtIPReversePathFilter', 'IpInAddrErrors']);
    const counts = stdout.split('\n').flatMap((line) => {
      const [name, count] = line.split(/\s+/);
      return /Filter|Errors/.test(name ?? '') ? [[name, Number(count)]] : [];
    });
    t.strictSame(counts, [
      ['IpInAddrErrors', 0],
      ['TcpExtIPReversePathFilter', 0],
    ]);
    const agent = agents[i];
    if (agent === undefined) throw new Error('no agent');
    t.strictSame(Object.keys(dropped(await verdicts(agent))), ['DROP_NO_LOCAL'], node.name);
  }
});

t.test('with XDP on the uplinks too: it forwards what keeps its source (S-39, S-65)', async (t) => {
  // As from a wire: XDP leaves packets with unfinished checksums to tc.
  const { out, pod1, pod2, host2 } = nodes.machines;
  for (const { netns } of [out, pod1, pod2, host2]) await netns.run(['ethtool', '-K', 'eth0', 'tx', 'off']);
  await Promise.all(agents.map((agent) => agent.stop()));
  const options = { manifests: setup.folder.path, flags: ['--xdp', 'native'] };
  const fast = await Promise.all([node1, node2].map((node) => Agent.start(node, options)));
  t.teardown(() => Promise.all(fast.map((agent) => agent.stop())));
  const outside = await askMatrix(nodes, {
    wanted: ({ external }, { client, frontend }) =>
      external === 'Local' && frontend !== 'cluster' && (client === 'out' || client === 'pod2'),
  });
  t.strictSame(found(outside), expected(outside));
  for (const agent of fast) {
    const { REQUEST_NEW: opened = 0 } = await verdicts(agent, 'xdp');
    t.ok(opened > 20, `${agent.node.name}: ${String(opened)} connections opened in XDP`);
  }
});
