// The real kube-proxy (nftables mode) and Sluice side by side: each has two nodes of its own, wired alike and with
// the same addresses (drawn in test/support/lab/twonodes.ts); both follow the objects of one real API server; both
// are asked every row of test/support/lab/matrix.ts. What every server and every client saw must be the same, but for
// what differences.ts lists.
import t from 'tap';
import { Agent } from '../support/lab/agent.ts';
import { ApiServer } from '../support/kube/apiserver.ts';
import { askMatrix, type Row } from '../support/lab/asktable.ts';
import { startUnixProxy } from '../support/lab/unixproxy.ts';
import { KubeProxy } from '../support/lab/kubeproxy.ts';
import { nodeDocument } from '../support/kube/manifests.ts';
import { matrix, matrixDocuments } from '../support/lab/matrix.ts';
import { twoNodes, type TwoNodes } from '../support/lab/twonodes.ts';
import { differences } from './differences.ts';

t.setTimeout(600_000);
const server = await ApiServer.start();
const theirs = await twoNodes();
const ours = await twoNodes();
t.teardown(async () => {
  await server.stop();
  await theirs.lab.close();
});

const port = Number(new URL(server.url).port);
const proxy = await startUnixProxy(port);
t.teardown(() => {
  proxy.close();
});
const nodesOf = ({ node1, node2 }: TwoNodes) => [node1, node2];
for (const node of [theirs, ours].flatMap(nodesOf))
  await node.actor.call('relay', { port, path: proxy.path });

await server.kubectl('create', 'namespace', 'lab');
await server.applyWithStatus([
  ...nodesOf(ours).map(({ name, v4, v6 }) => nodeDocument({ name, addresses: [v4, v6] })),
  ...matrix.flatMap((service) => matrixDocuments(ours, service)),
]);
const kubeconfig = await server.agentKubeconfig();
const proxies = await Promise.all(nodesOf(theirs).map((node) => KubeProxy.start(node, kubeconfig)));
const flags = ['--kubeconfig', kubeconfig, '--xdp', 'off'];
const agents = await Promise.all(nodesOf(ours).map((node) => Agent.start(node, { flags })));
t.teardown(async () => {
  await Promise.all([...proxies, ...agents].map((proxy) => proxy.stop()));
});

const kubeProxy = await askMatrix(theirs);
const sluice = await askMatrix(ours);

/** The rows in which the two differ: what was seen with each. */
function differing(): Map<string, { kubeProxy: string; sluice: string }> {
  const found = new Map<string, { kubeProxy: string; sluice: string }>();
  for (const [i, row] of kubeProxy.entries()) {
    const mine = sluice[i]?.found ?? 'not asked';
    if (mine !== row.found) found.set(row.name, { kubeProxy: row.found, sluice: mine });
  }
  return found;
}

const listed = (name: string): boolean => differences.some(({ rows }) => rows.test(name));
const asTable = (rows: readonly Row[]): object =>
  Object.fromEntries(rows.map((row) => [row.name, row.found]));

t.test('both proxies answered the same questions', async (t) => {
  t.equal(kubeProxy.length, sluice.length);
  t.ok(kubeProxy.length > 1000, `${String(kubeProxy.length)} rows`);
  t.strictSame(
    kubeProxy.map(({ name }) => name),
    sluice.map(({ name }) => name),
  );
});

t.test('servers and clients saw the same, row by row', async (t) => {
  const unlisted = (rows: readonly Row[]): object => asTable(rows.filter(({ name }) => !listed(name)));
  t.strictSame(unlisted(sluice), unlisted(kubeProxy));
});

t.test('every difference is listed with its reason, and no other', async (t) => {
  const names = [...differing().keys()];
  for (const { rows, what, rules } of differences) {
    const some = names.filter((name) => rows.test(name));
    t.ok(some.length > 0, `${what} (${rules.join(', ')}): ${String(some.length)} rows`);
  }
  t.strictSame(
    names.filter((name) => !listed(name)),
    [],
  );
});

t.test('where they differ Sluice does what the table says', async (t) => {
  const mine = sluice.filter(({ name }) => listed(name));
  t.strictSame(asTable(mine), Object.fromEntries(mine.map(({ name, expected }) => [name, expected])));
});
