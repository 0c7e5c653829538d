// UDP sockets whose backend is gone: found on real maps, and ended by a kernel that answers as the test says.
import t, { type Test } from 'tap';
import type { SocketsToDestroy } from '../../native/index.ts';
import { native } from '../../native/index.ts';
import { encode } from '../../src/abi/codec.ts';
import {
  slbSocket,
  slbSocketFlags,
  slbSocketKey,
  slbStats,
  type SlbSocketRow,
} from '../../src/abi/layout.gen.ts';
import { findNamespaces, listNamespaces } from '../../src/kernel/netns.ts';
import { SocketReaper, type StaleSocket, type ReaperKernel } from '../../src/kernel/socketreaper.ts';
import { Dataplane } from '../../src/maps/plane.ts';
import { mapSizes } from '../../src/maps/sizes.ts';
import { decide, type SocketTarget } from '../../src/maps/stalesockets.ts';
import { buildServicePorts } from '../../src/model/build.ts';
import { parseAddress } from '../../src/net/ip.ts';
import { listen, type Facts } from '../../src/observe/channels.ts';
import { slotOf } from '../../src/table/ids.ts';
import { service, slice } from '../support/kube/objects.ts';
import { Netns } from '../support/actors/netns.ts';
import { end, until } from '../support/run/process.ts';
import { closeMaps, createMaps, lifetimes, limits } from '../support/kernel/realmaps.ts';
import { u32 } from '../support/kernel/rawmaps.ts';

t.test('what becomes of a connected UDP socket (S-20, S-90)', (t) => {
  const decisions = {
    present: { served: 'keep', 'no endpoints': 'keep', removed: 'keep' },
    replaced: { served: 'later', 'no endpoints': 'later', removed: 'later' },
    removed: { served: 'destroy', 'no endpoints': 'later', removed: 'destroy' },
  } as const;
  for (const [backend, byService] of Object.entries(decisions))
    for (const [of, decision] of Object.entries(byService))
      t.equal(
        decide({ backend, service: of } as SocketTarget),
        decision,
        `backend ${backend}, service ${of}`,
      );
  t.end();
});

const here = { name: 'node-a', zone: '', addresses: ['192.0.2.1'] };
const { SOCKET_CONNECTED: connected, SOCKET_RETIRED: left } = slbSocketFlags;
const udp = 17;
const tcp = 6;

/** A plane over maps of its own, with UDP services by name, and sockets that point at their backends. */
async function openDesk(t: Pick<Test, 'teardown'>) {
  const maps = createMaps(mapSizes(limits));
  t.teardown(() => closeMaps(maps));
  const wanted = new Map<string, readonly string[]>();
  let told = 0;
  const open = async (): Promise<Dataplane> => {
    const opened = await Dataplane.open({
      maps,
      clock: { hz: 100, now: () => 0 },
      lifetimes,
      portsOf: (key) => {
        const endpoints = wanted.get(key);
        if (endpoints === undefined) return [];
        const name = key.slice('default/'.length);
        const dns = { name: 'dns', protocol: 'UDP', port: 53 } as const;
        const web = { name: 'web', protocol: 'TCP', port: 80 } as const;
        const ports = [dns, web].map((port) => ({ ...port, nodePort: 0 }));
        const object = service(name, [`10.96.0.${String(name.length)}`], { ports });
        return buildServicePorts(object, [slice('s', name, endpoints, { ports: [dns, web] })], here);
      },
    });
    opened.onStale(() => told++);
    return opened;
  };
  let plane = await open();
  const offer = async (name: string, endpoints: readonly string[] | undefined): Promise<void> => {
    const key = `default/${name}`;
    if (endpoints === undefined) wanted.delete(key);
    else wanted.set(key, endpoints);
    plane.update([key]);
    await plane.idle();
  };
  /** A socket of this service, connected to this backend, as the programs write and count it. */
  const point = (
    cookie: bigint,
    name: string,
    address: string,
    changes: Partial<SlbSocketRow> = {},
  ): void => {
    const proto = changes.proto ?? udp;
    const port = plane.portsOf(`default/${name}`).find(({ backends }) => backends[0]?.proto === proto);
    const backend = port?.backends.find((row) => row.address === address);
    if (port === undefined || backend === undefined) throw new Error(`no backend ${address} of ${name}`);
    const bytes = parseAddress(address)!;
    const row = {
      ...{ frontend: bytes, backendAddr: bytes, client: new Uint8Array(16) },
      ...{ frontendPort: 53, backendPort: backend.port, clientPort: 0, created: 0, seen: 0 },
      ...{ proto, flags: connected, netns: 7n, service: port.row.id, backend: backend.id },
      ...changes,
    };
    maps.slb_sockets.put(encode(slbSocketKey, { cookie, index: 0 }), encode(slbSocket, row));
    const counters = new BigUint64Array((slbStats.size / 8) * native().possibleCpus());
    counters[slbStats.fields.find((field) => field.name === 'sockets')!.offset / 8] = 1n;
    maps.slb_be_stats.put(u32(slotOf(backend.id)), new Uint8Array(counters.buffer));
  };
  const found = async (): Promise<readonly bigint[]> => {
    const list = await plane.staleSockets.find(() => false);
    return list.map(({ cookie }) => cookie).sort((a, b) => Number(a - b));
  };
  const restart = async (): Promise<void> => {
    plane.stop();
    plane = await open();
  };
  t.teardown(() => plane.stop());
  /** How often sockets may have been stranded since this was asked last. */
  const tellings = (): number => {
    const since = told;
    told = 0;
    return since;
  };
  return { maps, offer, point, found, restart, tellings, stranded: () => plane.staleSockets };
}

t.test('the sockets of a backend that has gone, and no others (S-89, S-90)', async (t) => {
  const { offer, point, found, stranded, tellings, maps } = await openDesk(t);
  await offer('a', ['10.0.0.1', '10.0.0.2']);
  await offer('bb', ['10.0.0.1']);
  point(1n, 'a', '10.0.0.1');
  point(2n, 'a', '10.0.0.2');
  point(3n, 'bb', '10.0.0.1');
  point(4n, 'a', '10.0.0.1', { proto: tcp });
  point(5n, 'a', '10.0.0.1', { flags: 0 });
  point(6n, 'a', '10.0.0.1', { flags: connected | left });
  t.equal(tellings(), 0, 'nothing has gone');
  t.strictSame(await found(), []);
  await offer('a', ['10.0.0.2']);
  t.equal(tellings(), 1);
  t.strictSame(await found(), [1n]);

  const [socket] = await stranded().find(() => false);
  t.match(socket, { netns: 7n, family: 4 });
  t.ok(stranded().includes(socket!));
  point(1n, 'a', '10.0.0.2');
  t.notOk(stranded().includes(socket!), 'connected anew');
  maps.slb_sockets.delete(encode(slbSocketKey, { cookie: 1n, index: 0 }));
  t.notOk(stranded().includes(socket!), 'closed');
});

t.test('backends without sockets are not searched for', async (t) => {
  const { offer, point, tellings } = await openDesk(t);
  await offer('a', ['10.0.0.1', '10.0.0.2']);
  await offer('a', ['10.0.0.1']);
  t.equal(tellings(), 0, 'a backend without sockets');
  point(1n, 'a', '10.0.0.1', { proto: tcp });
  await offer('a', ['10.0.0.2']);
  t.equal(tellings(), 0, 'only TCP');
});

t.test(
  'without another backend they wait: for a new one, for the old one, or for their end (S-20, S-90)',
  async (t) => {
    const { offer, point, found, tellings } = await openDesk(t);
    for (const name of ['a', 'bb', 'ccc']) {
      await offer(name, ['10.0.0.1']);
      point(BigInt(name.length), name, '10.0.0.1');
      await offer(name, []);
    }
    t.equal(tellings(), 3);
    t.strictSame(await found(), [], 'deserted');
    await offer('a', ['10.0.0.9']);
    t.equal(tellings(), 1, 'another');
    t.strictSame(await found(), [1n]);
    await offer('bb', ['10.0.0.1']);
    t.strictSame(await found(), [1n], 'the same again');
    await offer('bb', ['10.0.0.9']);
    t.equal(tellings(), 2, 'although its new row counts no socket');
    t.strictSame(await found(), [1n, 2n]);
    await offer('ccc', undefined);
    t.equal(tellings(), 1, 'the end');
    t.strictSame(await found(), [1n, 2n, 3n]);
  },
);

t.test('the next agent ends the sockets that a killed one had found', async (t) => {
  const { offer, point, found, restart } = await openDesk(t);
  await offer('a', ['10.0.0.1', '10.0.0.2']);
  point(1n, 'a', '10.0.0.1');
  point(2n, 'a', '10.0.0.2');
  await offer('a', ['10.0.0.2']);
  await restart();
  t.strictSame(await found(), [1n], 'before any Service is known');
});

const doomed = (cookie: bigint, netns: bigint, family: 4 | 6 = 4): StaleSocket => ({
  ...{ cookie, netns, family, backend: 1 },
});
const own = 3n;

/** A kernel with these sockets in these namespaces, and a reaper that is told which to end. */
function openGrave(sockets: Map<bigint, bigint[]>, kernel: Partial<ReaperKernel> = {}) {
  const asked: SocketsToDestroy[] = [];
  const paths = new Map([...sockets.keys()].map((netns) => [netns, `/run/netns/${String(netns)}`]));
  const list: StaleSocket[] = [];
  const heard: { destroyed: number; stranded: Facts['sockets.stranded'][] } = { destroyed: 0, stranded: [] };
  const stops = [
    listen('sockets.destroyed', (fact) => (heard.destroyed += fact.sockets)),
    listen('sockets.stranded', (fact) => heard.stranded.push(fact)),
  ];
  let looks = 0;
  const reaper = new SocketReaper({
    find: async () => {
      looks++;
      return [...list];
    },
    includes: (socket) => list.includes(socket),
    kernel: {
      netnsCookie: () => own,
      findNamespaces: async (wanted) => new Map([...paths].filter(([netns]) => wanted.has(netns))),
      listNamespaces: async () => [...paths.values()],
      destroySockets: async (options) => {
        asked.push(options);
        const cookieOfNetns = options.netns === undefined ? own : BigInt(options.netns.slice(11));
        const there = sockets.get(cookieOfNetns) ?? [];
        const hit = there.filter((cookie) => options.family === 4 && options.cookies.includes(cookie));
        sockets.set(
          cookieOfNetns,
          there.filter((cookie) => !hit.includes(cookie)),
        );
        return { destroyed: hit.length, cookieOfNetns };
      },
      ...kernel,
    },
  });
  /** One look, to its end. */
  const look = async (): Promise<void> => {
    const before = looks;
    reaper.check();
    reaper.check();
    await until('two looks', () => looks === before + 2);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const close = (): void => {
    reaper.stop();
    for (const stop of stops) stop();
  };
  return { list, asked, heard, look, close };
}

t.test('sockets are ended in their own namespace, once (S-90)', async (t) => {
  const { list, asked, heard, look, close } = openGrave(
    new Map([
      [own, [1n, 2n]],
      [8n, [3n]],
    ]),
  );
  t.teardown(close);
  list.push(doomed(1n, own), doomed(2n, own, 6), doomed(3n, 8n));
  await look();
  await look();
  t.equal(heard.destroyed, 2, 'the other is of the other family');
  const first = asked.slice(0, 4).map(({ netns, family, cookies }) => [netns, family, ...cookies]);
  t.strictSame(first, [
    [undefined, 4, 1n],
    [undefined, 6, 1n, 2n],
    ['/run/netns/8', 4, 3n],
    ['/run/netns/8', 6, 3n],
  ]);
  const before = asked.length;
  await look();
  t.equal(asked.length, before, 'rows that stay because their programs keep dead sockets cost nothing');
  t.strictSame(heard.stranded, []);
});

t.test('sockets that cannot be ended are reported once, with what to do', async (t) => {
  const noSuch = Object.assign(new Error('sock_diag: EOPNOTSUPP'), { code: 'EOPNOTSUPP' });
  const cases = [
    [new Map<bigint, bigint[]>(), {}, /hostPID/],
    [new Map([[8n, [1n]]]), { destroySockets: () => Promise.reject(noSuch) }, /CONFIG_INET_DIAG_DESTROY/],
  ] as const;
  for (const [sockets, kernel, reason] of cases) {
    const { list, heard, look, close } = openGrave(sockets, kernel);
    list.push(doomed(1n, 8n));
    await look();
    t.match(heard.stranded, [{ sockets: 1, error: { code: 'SLB_E_STRANDED', message: reason } }]);
    t.equal(heard.stranded.length, 1);
    list.push(doomed(2n, 8n));
    await look();
    t.equal(heard.stranded.length, 2, 'another is news');
    close();
  }
});

t.test('a socket that was closed or connected anew meanwhile is left alone', async (t) => {
  const { list, asked, heard, look, close } = openGrave(new Map([[8n, [1n]]]), {
    findNamespaces: async () => {
      list.length = 0;
      return new Map([[8n, '/run/netns/8']]);
    },
  });
  t.teardown(close);
  list.push(doomed(1n, 8n));
  await look();
  t.strictSame([asked, heard.destroyed, heard.stranded], [[], 0, []]);
});

t.test('a namespace is found by its name or a process in it, until it is gone', async (t) => {
  const named = await Netns.create('named');
  t.teardown(() => named.close());
  const nameless = await Netns.create('nameless');
  const [byName = 0n, byProcess = 0n] = await native().netnsCookies([named.path, nameless.path]);
  const child = nameless.spawn(['sleep', '600'], { stdio: 'ignore' });
  t.teardown(() => end(child));
  await until('the child to be there', async () => {
    const [cookie] = await native().netnsCookies([`/proc/${String(child.pid)}/ns/net`]);
    return cookie === byProcess;
  });
  await nameless.close();
  const found = await findNamespaces(new Set([byName, byProcess, 1n << 60n]));
  t.equal(found.get(byName), named.path);
  t.equal(found.get(byProcess), `/proc/${String(child.pid)}/ns/net`);
  t.equal(found.size, 2);
  const nowhere = await findNamespaces(new Set([byProcess]), { proc: '/none', named: ['/run/netns'] });
  t.equal(nowhere.size, 0);
  const all = await listNamespaces();
  for (const path of found.values()) t.ok(all.includes(path), path);
});
