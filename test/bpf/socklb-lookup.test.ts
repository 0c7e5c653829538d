// Look-ups of the socket hooks: addresses and ports, clients, traffic policies, and sockets that the hooks leave alone.
import '../support/run/alone.ts';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { decode } from '../../src/abi/codec.ts';
import * as abi from '../../src/abi/layout.gen.ts';
import { formatAddress } from '../../src/net/ip.ts';
import type { ServiceSpec } from '../support/kernel/rows.ts';
import { bothFamilies, end } from '../support/packet/addresses.ts';
import { Netns } from '../support/actors/netns.ts';
import { knowsHost, refuses } from '../support/kernel/sockrun.ts';
import {
  buildLoopback,
  dial,
  loopbackAddresses,
  Servers,
  socketNode,
  spec,
} from '../support/kernel/socknode.ts';
import { Caller } from '../support/kernel/syscalls.ts';

buildLoopback();
await Servers.start(t);
const host = await socketNode(t);
const { bench } = host;

const far = await Netns.create('pod');
t.teardown(() => far.close());
await far.ip(loopbackAddresses());
await Servers.start(t, Caller.start(far));
const pod = await host.enter(Caller.start(far));

const callers = { host: host.caller, pod } as const;
type Who = keyof typeof callers;
const left = 'LEFT_TO_PACKETS ENETUNREACH';
const refused = refuses ? 'REFUSED_SOCKET ECONNREFUSED' : left;

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;
  bench.addNodeAddress(who.node);
  bench.addNodeAddress(who.loopback, { loopback: true });

  const ask = async (
    { address, port, protocol }: Pick<ServiceSpec, 'address' | 'port' | 'protocol'>,
    from: Who = 'host',
    bind?: string,
  ): Promise<{ fate: string; backend: string | undefined }> => {
    const options = bind === undefined ? {} : { bind: [bind, 0] as const };
    const kind = protocol === 'udp' ? 'udp' : 'tcp';
    return dial(bench, await callers[from].open(who.family, kind, options), address, port);
  };
  const fate = async (...args: Parameters<typeof ask>): Promise<string> => (await ask(...args)).fate;
  const pointed = ({ address, port }: ServiceSpec): string => `SOCKET_NEW done ${end(address, port)}`;

  t.test(`addresses and ports of every kind (S-51, S-52, S-53, S-58, S-59), ${family}`, async (test) => {
    for (const protocol of ['tcp', 'udp'] as const) {
      for (const kind of ['cluster', 'external', 'balancer', 'node'] as const) {
        const service = spec(who, kind, { protocol });
        bench.addService(service);
        for (const from of ['host', 'pod'] as const)
          test.equal(await fate(service, from), pointed(service), `${protocol}, ${kind}, ${from}`);
      }
    }
  });

  t.test(`ports without a Service (S-48), ${family}`, async (test) => {
    const port = 999;
    test.equal(await fate({ address: who.vip, port, protocol: 'tcp' }), refused);
    test.equal(
      await fate({ address: who.vip, port, protocol: 'udp' }),
      left,
      'it may be a question for a route',
    );
    for (const address of [who.external, who.balancer])
      test.equal(await fate({ address, port, protocol: 'tcp' }), 'NO_SUCH_PORT ENETUNREACH', address);
    test.equal(await fate({ address: who.node, port, protocol: 'tcp' }), 'NOT_OURS ECONNREFUSED');
    test.match(
      await fate({ address: who.one, port: 8080, protocol: 'tcp' }),
      /^NOT_OURS done/,
      'a pod by its own address',
    );
  });

  t.test(`a cluster address that this node has bound itself, ${family}`, async (test) => {
    const address = who.family === 4 ? '10.96.0.10' : 'fd96::10';
    const service = spec(who, 'cluster', { address });
    bench.addService(service);
    bench.addAddress(address, abi.slbAddressFlags.ADDR_NODE);
    test.equal(await fate(service), 'OWN_ADDRESS ENETUNREACH');
  });

  t.test(
    `NodePorts: at addresses of this node, at loopback for the host alone (S-53, S-57), ${family}`,
    async (test) => {
      const service = spec(who, 'node');
      bench.addService(service);
      const at = (address: string, from: Who): Promise<string> => fate({ ...service, address }, from);
      test.match(
        await at(who.client, 'host'),
        /^NOT_OURS /,
        'an address of another node, for all that is known',
      );
      test.match(await at(who.family === 4 ? '0.0.0.0' : '::', 'host'), /^NOT_OURS /, 'no address');
      test.match(await at(who.loopback, 'pod'), /^NOT_OURS /, 'by which a pod means itself');
      if (knowsHost)
        test.equal(await at(who.loopback, 'host'), pointed({ ...service, address: who.loopback }));
      else test.pass('this kernel does not tell whose a namespace is', { skip: true });
    },
  );

  t.test(`traffic policies (S-39, S-40), ${family}`, async (test) => {
    const lists: ServiceSpec['backends'] = [
      { address: who.one, port: 8080, lists: 'cluster' },
      { address: who.two, port: 8080, lists: 'local' },
    ];
    const [anywhere, here] = [end(who.one, 8080), end(who.two, 8080)];
    for (const kind of ['cluster', 'external', 'balancer', 'node'] as const) {
      for (const local of [[], ['internal'], ['external']] as const) {
        const service = spec(who, kind, { backends: lists, local });
        bench.addService(service);
        const wanted = kind === 'cluster' && local[0] === 'internal' ? here : anywhere;
        for (const from of ['host', 'pod'] as const)
          test.equal(
            (await ask(service, from)).backend,
            wanted,
            `${kind}, Local: ${local.join('')}, ${from}`,
          );
      }
    }
  });

  t.test(`no endpoint here, or none at all (S-43), ${family}`, async (test) => {
    const elsewhere = [{ address: who.one, port: 8080, lists: 'cluster' as const }];
    const local = spec(who, 'cluster', { backends: elsewhere, local: ['internal'] });
    const { id } = bench.addService(local);
    test.equal(await fate(local), left, 'to be dropped: no error says that');
    test.equal(bench.stats('slb_svc_stats', id).refused, 0n, 'the packet path counts it');
    for (const kind of ['cluster', 'external', 'balancer'] as const) {
      const none = spec(who, kind, { backends: [] });
      bench.addService(none);
      for (const from of ['host', 'pod'] as const)
        test.equal(await fate(none, from), refused, `${kind}, ${from}`);
    }
    const node = spec(who, 'node', { backends: [] });
    bench.addService(node);
    test.equal(await fate(node), refuses ? refused : 'LEFT_TO_PACKETS ECONNREFUSED');
  });

  t.test(
    `a Service that is deleted between the look-up of its frontend and its row, ${family}`,
    async (test) => {
      const service = spec(who);
      bench.removeService(bench.addService(service).id);
      test.equal(await fate(service), left);
    },
  );

  t.test(`session affinity at the socket (S-77, S-79), ${family}`, async (test) => {
    const service = spec(who, 'cluster', { affinitySec: 3600 });
    const { id } = bench.addService(service);
    test.equal(await fate(service), left, 'which is not chosen yet');
    const homes = new Set<string | undefined>();
    for (let i = 0; i < 12; i++) homes.add((await ask(service, 'host', who.client)).backend);
    test.equal(homes.size, 1, 'bound: it stays');
    const { keys, values, count } = bench.map('slb_affinity').readBatch(undefined, 4096);
    const entries = Array.from({ length: count }, (_, i) => {
      const key = decode(abi.slbAffinityKey, keys, i * abi.slbAffinityKey.size);
      const { backend } = decode(abi.slbAffinity, values, i * abi.slbAffinity.size);
      return { service: key.service, client: formatAddress(key.client), backend };
    });
    const made = entries.filter((entry) => entry.service === id);
    test.match(made, [{ client: who.client }], 'in the row that packets have, too');
    const [kept] = homes;
    const other = await ask(service, 'host', who.other);
    test.equal(other.fate, pointed(service));
    test.equal((await ask(service, 'host', who.client)).backend, kept, 'whatever another does');
  });

  t.test(
    `sockets with source ranges are left to the packet path, but not at cluster addresses (S-61), ${family}`,
    async (test) => {
      for (const rule of ['allow', 'deny'] as const) {
        const balancer = { kind: 'balancer', address: who.balancer, port: 6000 } as const;
        const service = spec(who, 'cluster', { [rule]: [], more: [balancer] });
        bench.addService(service);
        test.equal(await fate(service), pointed(service));
        test.equal(await fate({ ...balancer, protocol: 'tcp' }), left, rule);
      }
    },
  );

  t.test(`a Service annotated so is left to the packet path, ${family}`, async (test) => {
    for (const kind of ['cluster', 'external'] as const) {
      const service = spec(who, kind, { flags: abi.slbServiceFlags.SVC_NO_SOCKET_LB });
      bench.addService(service);
      test.equal(await fate(service), left, kind);
    }
    test.equal(
      await fate({ address: who.vip, port: 999, protocol: 'tcp' }),
      refused,
      'other ports are not its own',
    );
  });

  t.test(`exempt cgroups and the cgroups below them, ${family}`, async (test) => {
    const service = spec(who);
    bench.addService(service);
    const caller = await host.enter(Caller.start());
    const depth = abi.slbLimits.CGROUP_DEPTH;
    const folders = [bench.cgroup];
    while (folders.length <= depth) folders.push(join(folders.at(-1)!, 'below'));
    for (const folder of folders.slice(1)) mkdirSync(folder);
    test.teardown(async () => {
      await caller.kill();
      for (const folder of folders.slice(1).reverse()) rmdirSync(folder);
    });
    const dialled = async (): Promise<string> =>
      (await dial(bench, await caller.open(who.family, 'tcp'), who.vip, service.port)).fate;
    await caller.move(folders[depth]!);
    test.equal(await dialled(), pointed(service));
    for (const [level, folder] of folders.entries()) {
      const end = bench.exempt(folder);
      test.equal(await dialled(), level < depth ? left : pointed(service), `level ${level + 1}`);
      end();
    }
    const end = bench.exempt(folders[1]!);
    test.equal(await fate(service), pointed(service), 'not what is above');
    test.equal(await fate({ address: who.vip, port: 999, protocol: 'tcp' }), refused);
    const closed = await caller.open(who.family, 'tcp');
    test.equal((await dial(bench, closed, who.vip, 999)).fate, left, 'nor refused');
    end();
    test.equal(await dialled(), pointed(service), 'until it is not any more');
  });
}

t.test('connect() is not refused on kernels that cannot return ECONNREFUSED (S-43)', async (test) => {
  const { bench: quiet, caller } = await socketNode(test, { config: { socketRefuse: 0 } });
  for (const who of bothFamilies) {
    const service = spec(who, 'cluster', { backends: [] });
    const { id } = quiet.addService(service);
    for (const port of [service.port, 999])
      test.equal((await dial(quiet, await caller.open(who.family, 'tcp'), who.vip, port)).fate, left);
    test.equal(quiet.stats('slb_svc_stats', id).refused, 0n);
  }
});

t.test('masqueradeAll applies to cluster addresses alone (S-63)', async (test) => {
  const { bench: all, caller } = await socketNode(test, { config: { masqueradeAll: 1 } });
  for (const who of bothFamilies) {
    const more = [{ kind: 'external' as const, address: who.external, port: 6000 }];
    const service = spec(who, 'cluster', { more });
    all.addService(service);
    const to = async (address: string, port: number): Promise<string> =>
      (await dial(all, await caller.open(who.family, 'tcp'), address, port)).fate;
    test.equal(await to(who.vip, service.port), left);
    test.equal(await to(who.external, 6000), `SOCKET_NEW done ${end(who.external, 6000)}`);
  }
});
