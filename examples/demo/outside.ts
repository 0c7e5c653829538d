// What clients of a NodePort notice: whose address the server sees, and that affinity keeps them where they are.
import type { Machine } from '../../test/support/lab/lab.ts';
import type { Network } from './network.ts';
import { promise, say, title } from './print.ts';

interface Answer {
  readonly server: string;
  readonly asker: string; // as the server saw it
}

async function ask({ actor }: Machine, address: string): Promise<Answer> {
  const { body } = await actor.call('http', { url: `http://${address}/who` });
  const [server = '', asker = ''] = body.trim().split(' ');
  return { server, asker };
}

export async function showClients({ client, node }: Network): Promise<void> {
  title('NodePorts: which address does a server see as its client?');
  const questions = [
    { from: client, to: `${node.v4}:30081`, policy: 'Cluster' },
    { from: client, to: `${node.v4}:30082`, policy: 'Local' },
    { from: node, to: '127.0.0.1:30081', policy: 'Cluster' },
  ] as const;
  const answers = [];
  for (const { from, to, policy } of questions) {
    const answer = await ask(from, to);
    answers.push(answer.asker);
    say(
      `${from.name.padEnd(7)} asks ${to.padEnd(17)} externalTrafficPolicy ${policy.padEnd(8)} ${answer.server.padEnd(6)} sees ${answer.asker}`,
    );
  }
  const [masqueraded, kept, own] = answers;
  promise(masqueraded !== client.v4 && masqueraded !== '', 'with policy Cluster the server sees the node');
  promise(kept === client.v4, 'with policy Local it sees the client');
  promise(own !== '127.0.0.1' && own !== '', 'no server sees the address of loopback');
}

export async function stay({ client, node }: Network): Promise<void> {
  const requests = 40;
  title(
    `${String(requests)} connections with sessionAffinity ClientIP, to the ClusterIP and to the NodePort`,
  );
  const servers = new Map<string, number>();
  for (let i = 0; i < requests; i++) {
    const { server } = await ask(client, i % 2 === 0 ? '10.96.0.83' : `${node.v4}:30083`);
    servers.set(server, (servers.get(server) ?? 0) + 1);
  }
  for (const [server, count] of servers) say(`${server.padEnd(6)} ${String(count)} of ${String(requests)}`);
  promise(servers.size === 1, 'one client, one server, whatever the address');
}
