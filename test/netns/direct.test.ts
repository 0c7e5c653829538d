// One client port and one backend, in two ways at the same time: through a Service and directly. The answers look the
// same on the wire, and each must reach its own socket. Without socket hooks, so that the Service is reached by
// packets; a direct connection is what a translated socket makes. All on one node:
//
//   pod (bridge), routed (ptp), host        clients
//   a (bridge), b (ptp)                     backends, each with a service of its own
import t from 'tap';
import { echoPort, echoService, serveEcho, servicePort } from '../support/lab/echo.ts';
import type { Machine } from '../support/lab/lab.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(240_000);
const { node, offer, startAgent } = await oneNode(t);
const clients: readonly Machine[] = [await node.pod('pod'), await node.pod('routed', 'ptp'), node];
const backends = [await node.pod('a'), await node.pod('b', 'ptp')];
await serveEcho(backends);
const services = backends.map(({ name }, i) => echoService(name, 10 + i));
services.forEach((service, i) => {
  offer(service, backends.slice(i, i + 1));
});
/** Where another port is looked for. Few, so that ports which sockets have are met; half of them are free. */
const ports = { first: 30_000, last: 30_063 };
const portsText = `${String(ports.first)}-${String(ports.last)}`;
await startAgent({ flags: ['--xdp', 'off', '--snat-ports', portsText] });

let localPort = 20_000;
for (const { actor, name } of clients) {
  for (const family of ['v4', 'v6'] as const) {
    backends.forEach((backend, i) => {
      const service = { host: services[i]?.[family] ?? '', port: servicePort };
      const direct = { host: backend[family], port: echoPort };
      const title = `${name} and ${backend.name}, ${family}`;

      for (const [order, roads] of [
        ['the service first', [service, direct]],
        ['the backend first', [direct, service]],
      ] as const) {
        t.test(`TCP, ${order}: ${title} (S-68)`, async (t) => {
          localPort++;
          const opened = [];
          for (const road of roads) opened.push(await actor.call('open', { ...road, localPort }));
          for (const [n, connection] of opened.entries()) {
            const { id, local, peer, server } = connection;
            const road = roads[n];
            t.equal(server, backend.name);
            t.equal(peer, `${road?.host ?? ''} ${String(road?.port ?? 0)}`);
            t.match(local, new RegExp(` ${String(localPort)}$`));
            t.equal(
              await actor.call('ask', { id, text: `connection ${String(n)}` }),
              `connection ${String(n)}`,
            );
          }
          for (const { id } of opened) await actor.call('shut', { id });
        });
      }

      t.test(`TCP, no port that another socket has: ${title} (S-68)`, async (t) => {
        const held: number[] = [];
        for (let port = ports.first; port < ports.first + 32; port++)
          held.push((await actor.call('open', { ...direct, localPort: port })).id);
        for (let round = 0; round < 3; round++) {
          localPort++;
          const both = [
            await actor.call('open', { ...service, localPort }),
            await actor.call('open', { ...direct, localPort }),
          ];
          for (const { id } of both) t.equal(await actor.call('ask', { id, text: 'its own' }), 'its own');
          for (const id of held) t.equal(await actor.call('ask', { id, text: 'as before' }), 'as before');
          for (const { id } of both) await actor.call('shut', { id });
        }
        for (const id of held) await actor.call('shut', { id });
      });

      // A host socket without a peer cannot be told from one that asked for the service: see docs/packet.md.
      if (name === node.name) return;
      t.test(`UDP, one socket: ${title} (S-68)`, async (t) => {
        const id = await actor.call('openLoose', { type: family === 'v4' ? 'udp4' : 'udp6' });
        for (const road of [service, direct, service, direct]) {
          const { from, payload } = await actor.call('askLoose', { id, ...road, text: road.host });
          t.strictSame({ from, payload }, { from: `${road.host} ${String(road.port)}`, payload: road.host });
        }
        await actor.call('shutUdp', { id });
      });

      t.test(`UDP, no port that another socket has: ${title} (S-68)`, async (t) => {
        const type = family === 'v4' ? 'udp4' : 'udp6';
        const held: number[] = [];
        for (let port = ports.first; port < ports.first + 32; port++)
          held.push(await actor.call('openLoose', { type, localPort: port }));
        for (let round = 0; round < 3; round++) {
          const id = await actor.call('openLoose', { type });
          for (const road of [service, direct, service, direct]) {
            const { from, payload } = await actor.call('askLoose', { id, ...road, text: road.host });
            t.strictSame(
              { from, payload },
              { from: `${road.host} ${String(road.port)}`, payload: road.host },
            );
          }
          await actor.call('shutUdp', { id });
        }
        for (const id of held) await actor.call('shutUdp', { id });
      });
    });
  }
}
