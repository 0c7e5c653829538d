// The traffic table with socket hooks on, off again, and switched while connections are open: which endpoint a client
// reaches does not depend on them. The topology is drawn in test/support/lab/twonodes.ts.
import t from 'tap';
import { askMatrix, type Row } from '../support/lab/asktable.ts';
import { verdicts } from '../support/lab/echo.ts';
import { matrix, matrixDocuments, type Cell } from '../support/lab/matrix.ts';
import { TwoAgents } from '../support/lab/twoagents.ts';
import { nodeOf } from '../support/lab/twonodes.ts';

t.setTimeout(300_000);
const setup = await TwoAgents.start(t, ['--xdp', 'off'], 'on');
const { nodes, agents } = setup;
setup.folder.put(
  'matrix.yaml',
  matrix.flatMap((service) => matrixDocuments(nodes, service)),
);
const last = matrix.at(-1)?.name ?? '';
await setup.settled(last, (body) => body !== undefined);

const found = (rows: readonly Row[]): object => Object.fromEntries(rows.map((row) => [row.name, row.found]));
const expected = (rows: readonly Row[]): object =>
  Object.fromEntries(rows.map((row) => [row.name, row.expected]));

/** What the client's own node decides: everything but the NodePorts of another (S-40). */
const isOwn = ({ client, frontend }: Cell): boolean =>
  client !== 'out' && (!frontend.startsWith('node') || frontend === nodeOf(client));

/**
 * Masquerading brings replies back through the node that translated. A socket needs none of that: a pod keeps its
 * address at every frontend, and a host has the one that the kernel takes towards the backend, also when it dialled
 * loopback.
 */
function withHooks(cell: Cell): string {
  if (!isOwn(cell)) return cell.expected;
  const own = nodeOf(cell.client) ?? '';
  const [from, to] = cell.client.startsWith('host') ? ['kept', own] : [own, 'kept'];
  return cell.expected.replaceAll(` ${from}`, ` ${to}`).replace(/^(\S+) (\S+), (\S+) \2$/, '$1+$3 $2');
}

t.test(
  "every row that the client's node decides, from pods and hosts (S-52, S-53, S-57, S-63, S-64)",
  async (t) => {
    const rows = await askMatrix(nodes, { wanted: (_, cell) => cell.client !== 'out', expect: withHooks });
    t.strictSame(found(rows), expected(rows));
    for (const agent of agents) {
      const { SOCKET_NEW: pointed = 0, REFUSED_SOCKET: refused = 0 } = await verdicts(agent, 'sock');
      t.ok(pointed > 300, `${agent.node.name}: ${String(pointed)} sockets pointed at backends`);
      t.ok(refused > 20, `${agent.node.name}: ${String(refused)} connects refused at the socket`);
    }
  },
);
