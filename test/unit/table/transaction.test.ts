// After any history of edits and batches the kernel's tables hold what a fresh start would write (S-18). On the way
// nothing that is served is missing, nor sent to backends of another Service.
import assert from 'node:assert/strict';
import t from 'tap';
import fc from 'fast-check';
import { buildServicePorts } from '../../../src/model/build.ts';
import type { HostFacts, NodeIdentity } from '../../../src/model/types.ts';
import type { EndpointSliceObject, ServiceObject } from '../../../src/source/objects.ts';
import { allPorts, setHost, type Capacity, type TableState } from '../../../src/table/state.ts';
import { phases } from '../../../src/table/order.ts';
import { planLeftovers, planService } from '../../../src/table/plan.ts';
import { restoreState } from '../../../src/table/restore.ts';
import type { Transaction } from '../../../src/table/transaction.ts';
import { FakeKernel, meaning } from '../../support/model/kernelrows.ts';
import { endpoint, meta, service, slice } from '../../support/kube/objects.ts';
import { holds } from '../../support/run/property.ts';
import { die, program } from '../../support/model/transactions.ts';

t.setTimeout(120_000); // everything is built from nothing after every step

const capacity: Capacity = {
  frontends: 256,
  services: 64,
  backends: 256,
  sets: 128,
  slots: 1024,
  maglev: 1 << 16,
  ranges: 128,
  devices: 8,
};

const names = ['a', 'b', 'c'] as const;

/** Everything that the tables follow from. */
interface World {
  readonly services: ReadonlyMap<string, ServiceObject>;
  readonly slices: ReadonlyMap<string, EndpointSliceObject>;
  readonly node: NodeIdentity;
  readonly host: HostFacts;
}

const nothing: World = {
  services: new Map(),
  slices: new Map(),
  node: { name: 'node-a', zone: '', addresses: [] },
  host: { addresses: [], devices: [], podRanges: [] },
};

/** One agent's part: a state, and the kernel that it writes to. */
class Agent {
  readonly kernel: FakeKernel;
  state: TableState;
  constructor(kernel = new FakeKernel()) {
    this.kernel = kernel;
    this.state = restoreState(capacity, kernel.rows());
  }

  /** Brings these services and the host up to date, in one transaction. Returns the rows written. */
  program(world: World, services: Iterable<string>, isFirst = false): number {
    return program(this.state, this.kernel, (transaction) => {
      this.#plan(transaction, world, services);
      if (isFirst) planLeftovers(this.state, transaction);
    }).rows;
  }

  /** Dies on the way there; another begins with what the kernel says. */
  succeed(world: World, services: Iterable<string>, phases: number): Agent {
    die(this.state, this.kernel, (transaction) => this.#plan(transaction, world, services), phases);
    return new Agent(this.kernel);
  }

  #plan(transaction: Transaction, world: World, services: Iterable<string>): void {
    setHost(this.state, world.host);
    for (const name of services)
      planService(this.state, transaction, `default/${name}`, portsOf(world, name));
  }
}

function portsOf({ services, slices, node }: World, name: string) {
  const own = [...slices.values()].filter(({ serviceName }) => serviceName === name);
  return buildServicePorts(services.get(name), own, node);
}

// Few names, addresses and numbers, so that Services collide, share and follow one another.
const address4 = fc.constantFrom('10.96.0.1', '10.96.0.2', '192.0.2.1', '203.0.113.9');
const address6 = fc.constantFrom('fd00::1', '2001:db8::9');
const addresses = fc.subarray(['192.0.2.1', '203.0.113.9', '203.0.113.10', '2001:db8::9', '10.96.0.2']);
const ranges = fc.subarray(['10.0.0.0/8', '192.0.2.0/24', '0.0.0.0/1', 'fd00::/8', '2001:db8::/32']);
const policy = fc.constantFrom('Cluster' as const, 'Local' as const);

const port = fc.record({
  protocol: fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const),
  port: fc.constantFrom(80, 81, 53),
  nodePort: fc.constantFrom(0, 0, 30080, 30081, 80),
});

const someService = fc
  .record({
    type: fc.constantFrom(...(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'] as const)),
    clusterIPs: fc.oneof(
      fc.tuple(address4),
      fc.tuple(address6),
      fc.tuple(address4, address6),
      fc.tuple(address6, address4),
      fc.constant(['None']),
    ),
    externalIPs: addresses,
    loadBalancerIPs: addresses,
    loadBalancerSourceRanges: ranges,
    deniedSourceRanges: ranges,
    ports: fc.uniqueArray(port, {
      minLength: 1,
      maxLength: 3,
      selector: (one) => `${one.protocol} ${one.port}`,
    }),
    internalTrafficPolicy: policy,
    externalTrafficPolicy: policy,
    affinitySec: fc.constantFrom(0, 1, 10_800),
    isForeign: fc.integer({ min: 0, max: 7 }).map((number) => number === 7),
  })
  .map(({ clusterIPs, ports, isForeign, ...rest }) => (name: string): ServiceObject => ({
    ...service(name, clusterIPs, {
      ...rest,
      ports: ports.map((one, index) => ({ ...one, name: `p${index}` })),
    }),
    meta: meta(name, isForeign ? { 'service.kubernetes.io/service-proxy-name': 'other' } : {}),
  }));

const someEndpoint = fc
  .record({
    last: fc.integer({ min: 1, max: 5 }),
    ready: fc.boolean(),
    serving: fc.boolean(),
    terminating: fc.boolean(),
    nodeName: fc.constantFrom(undefined, 'node-a', 'node-b'),
    zoneHints: fc.constantFrom([], ['west'], ['east']),
  })
  .map(({ last, ...rest }) => ({ last, rest }));

const someSlice = fc
  .record({
    serviceName: fc.constantFrom(...names),
    isSix: fc.boolean(),
    endpoints: fc.array(someEndpoint, { maxLength: 5 }),
    ports: fc.subarray(['p0', 'p1', 'p2']),
    protocol: fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const),
  })
  .map(({ serviceName, isSix, endpoints, ports, protocol }) => (name: string): EndpointSliceObject => {
    const list = endpoints.map(({ last, rest }) =>
      endpoint(isSix ? `fd00:1::${last}` : `10.0.0.${last}`, rest),
    );
    const named = ports.map((one, index) => ({ name: one, protocol, port: 8080 + index }));
    return slice(name, serviceName, list, { addressType: isSix ? 'IPv6' : 'IPv4', ports: named });
  });

const hostAddress = fc.record({
  address: fc.constantFrom('192.0.2.1', '203.0.113.9', '10.96.0.2', '127.0.0.1', '2001:db8::9'),
  nodePort: fc.boolean(),
  loopback: fc.boolean(),
});
const device = fc.record({
  ifindex: fc.integer({ min: 1, max: 4 }),
  addr4: fc.constantFrom(undefined, '192.0.2.1', '192.0.2.2'),
  addr6: fc.constantFrom(undefined, '2001:db8::9'),
  mac: fc.constantFrom('', '02:00:00:00:00:01'),
  role: fc.constantFrom('pod' as const, 'uplink' as const, 'host' as const),
  netns: fc.constantFrom(-1, 7),
  bridge: fc.constantFrom(0, 3),
  rpFilter: fc.nat(2),
  rpFilter6: fc.nat(2),
  lower: fc.constantFrom(0, 2),
  vlan: fc.constantFrom(0, 4095),
});
const someHost: fc.Arbitrary<HostFacts> = fc.record({
  addresses: fc.uniqueArray(hostAddress, { selector: ({ address }) => address }),
  devices: fc.uniqueArray(device, { selector: ({ ifindex }) => ifindex }),
  podRanges: fc.subarray(['10.244.0.0/16', 'fd00:10::/64']),
});

type Edit = (world: World, restart: () => void) => { world: World; dirty: readonly string[] };

const putService = fc.tuple(fc.constantFrom(...names), someService).map(([name, make]): Edit => (world) => ({
  world: { ...world, services: new Map(world.services).set(name, make(name)) },
  dirty: [name],
}));
const dropService = fc.constantFrom(...names).map((name): Edit => (world) => {
  const services = new Map(world.services);
  services.delete(name);
  return { world: { ...world, services }, dirty: [name] };
});
const putSlice = fc
  .tuple(fc.constantFrom('s1', 's2', 's3', 's4'), fc.option(someSlice))
  .map(([name, make]): Edit => (world) => {
    const before = world.slices.get(name)?.serviceName;
    const slices = new Map(world.slices);
    const made = make?.(name);
    if (made === undefined) slices.delete(name);
    else slices.set(name, made);
    const dirty = [before, made?.serviceName].filter((one) => one !== undefined);
    return { world: { ...world, slices }, dirty };
  });
const setZone = fc
  .constantFrom('', 'west', 'east')
  .map((zone): Edit => (world) => ({ world: { ...world, node: { ...world.node, zone } }, dirty: names }));
const setNode = fc.subarray(['192.0.2.1', '2001:db8::9']).map((list): Edit => (world) => ({
  world: { ...world, node: { ...world.node, addresses: list } },
  dirty: names,
}));
const changeHost = someHost.map((host): Edit => (world) => ({ world: { ...world, host }, dirty: [] }));
const restart: fc.Arbitrary<Edit> = fc.constant((world, again) => {
  again();
  return { world, dirty: [] };
});

const edit = fc.oneof(
  { arbitrary: putService, weight: 6 },
  { arbitrary: putSlice, weight: 8 },
  { arbitrary: dropService, weight: 2 },
  { arbitrary: changeHost, weight: 2 },
  setZone,
  setNode,
  restart,
);
/** Edits that the agent sees at once. */
const batch = fc.array(edit, { minLength: 1, maxLength: 4 });

function fromNothing(world: World): Agent {
  const agent = new Agent();
  agent.program(world, world.services.keys(), true);
  return agent;
}

/** Records that fast-check makes have no prototype. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

function usage({ state }: Agent): Readonly<Record<string, number>> {
  const { serviceIds, backendIds, setRows, slotRows, tables, rangeRows, deviceRows, frontends } = state;
  const pools = { serviceIds, backendIds, setRows, slotRows, rangeRows, deviceRows, frontends };
  const used = Object.entries(pools).map(([name, pool]) => [name, pool.used] as const);
  return Object.fromEntries([...used, ['tables', tables.ranges.used]]);
}

/** The world after these edits, and the services that they touch. */
function edited(
  world: World,
  batch: readonly Edit[],
  restart: () => void,
): { world: World; dirty: Set<string> } {
  const all = { world, dirty: new Set<string>() };
  for (const one of batch) {
    const done = one(all.world, restart);
    all.world = done.world;
    for (const name of done.dirty) all.dirty.add(name);
  }
  return all;
}

function verify(agent: Agent, world: World): void {
  const fresh = fromNothing(world);
  assert.deepEqual(plain(meaning(agent.kernel)), plain(meaning(fresh.kernel)));
  assert.deepEqual(usage(agent), usage(fresh), 'nothing is lost, nothing is left');
  assert.equal(agent.program(world, names), 0, 'nothing has changed, nothing is written');
}

t.test('random edits in random batches lead to the same rows as a fresh start (S-18, S-20)', async (t) => {
  holds(
    t,
    fc.property(fc.array(batch, { maxLength: 12 }), (batches) => {
      let world = nothing;
      let agent = fromNothing(world);
      for (const one of batches) {
        const next = edited(world, one, () => {
          agent = new Agent(agent.kernel); // dies, and another begins with what the kernel says
          agent.program(world, names, true);
        });
        world = next.world;
        agent.program(world, next.dirty);
        verify(agent, world);
      }
    }),
    { numRuns: 120 },
  );
  t.pass();
});

t.test('an agent killed between any two phases: the next one reaches the same rows (S-103)', async (t) => {
  const step = fc.tuple(batch, fc.nat({ max: phases.length }));
  holds(
    t,
    fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
      let world = nothing;
      let agent = fromNothing(world);
      for (const [one, done] of steps) {
        const next = edited(world, one, () => undefined);
        world = next.world;
        agent = agent.succeed(world, next.dirty, done);
        agent.program(world, names, true);
        verify(agent, world);
      }
    }),
    { numRuns: 80 },
  );
  t.pass();
});

t.test('the rows of a Service do not depend on other Services', async (t) => {
  const both = fc.tuple(someService, someService, fc.array(someSlice, { maxLength: 4 }));
  holds(
    t,
    fc.property(both, ([mine, other, slices]) => {
      const only: World = {
        ...nothing,
        services: new Map([['a', mine('a')]]),
        slices: new Map(slices.map((make, index) => [`s${index}`, make(`s${index}`)])),
      };
      // Elsewhere: the same Service with addresses and ports of its own.
      const beside = other('b');
      const moved = {
        ...beside,
        clusterIPs: ['10.97.0.1'],
        ipFamilies: [4 as const],
        externalIPs: [],
        loadBalancerIPs: [],
        ports: beside.ports.map((one) => ({ ...one, nodePort: 0 })),
      };
      const agent = fromNothing(only);
      const before = JSON.stringify([meaning(agent.kernel), allPorts(agent.state)]);
      agent.program({ ...only, services: new Map([...only.services, ['b', moved]]) }, ['b']);
      agent.program(only, ['b']);
      return before === JSON.stringify([meaning(agent.kernel), allPorts(agent.state)]);
    }),
    { numRuns: 100 },
  );
  t.pass();
});
