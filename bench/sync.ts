// The control road at scale: 10 000 Services of 10 endpoints each, from objects to kernel maps, and then one change.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Dataplane } from '../src/maps/plane.ts';
import { mapSizes } from '../src/maps/sizes.ts';
import { buildServicePorts } from '../src/model/build.ts';
import type { Change, EndpointSliceObject, ServiceObject } from '../src/source/objects.ts';
import { parseObject } from '../src/source/parse/object.ts';
import { createStore, type Store } from '../src/source/store.ts';
import { beginning } from '../test/support/run/heartbeat.ts';
import { closeMaps, createMaps, lifetimes, type RealMaps } from '../test/support/kernel/realmaps.ts';

const services = 10_000;
const endpoints = 10;
const changes = 500;
const node = { name: 'bench', zone: '', addresses: [] };
const limits = { services: 16_384, backends: 131_072, flows: 1_024, halfOpenFlows: 1_024, sockets: 1_024 };

export interface SyncFigures {
  readonly method: string;
  readonly services: number;
  readonly endpointsPerService: number;
  readonly listToProgrammedMs: number;
  readonly listCpuMs: number;
  readonly restartToProgrammedMs: number;
  readonly oneChange: {
    readonly samples: number;
    readonly medianMs: number;
    readonly p99Ms: number;
    readonly maxMs: number;
  };
  readonly longestLoopBlockMs: number;
  readonly rssMb: { readonly before: number; readonly peak: number; readonly after: number };
  readonly maglevMb: number;
}

export async function run(): Promise<SyncFigures> {
  const maps = createMaps(mapSizes(limits));
  try {
    const objects = record();
    const watch = startWatching();
    const first = await listOnce(maps, objects);
    const oneChange = await measureChanges(first.store, first.plane);
    const watched = watch.stop();
    const { used } = first.plane.fill().find(({ name }) => name === 'slb_maglev') ?? { used: 0 };
    first.plane.stop();
    const second = await listOnce(maps, objects);
    second.plane.stop();
    return {
      method:
        'recorded objects, handed over 500 at a time; real kernel maps, no programs; RSS includes the recording',
      services,
      endpointsPerService: endpoints,
      listToProgrammedMs: first.tookMs,
      listCpuMs: first.cpuMs,
      restartToProgrammedMs: second.tookMs,
      oneChange,
      ...watched,
      maglevMb: rounded((used * 2) / 2 ** 20),
    };
  } finally {
    closeMaps(maps);
  }
}

/** The objects as a source hands them over; the store keeps them, so they belong to what the agent needs. */
function record(): readonly (readonly Change[])[] {
  const batches: Change[][] = [];
  for (let from = 0; from < services; from += 500) {
    const batch: Change[] = [];
    for (let i = from; i < from + 500; i++) batch.push(put(serviceObject(i)), put(sliceObject(i, endpoints)));
    batches.push(batch);
  }
  return batches;
}

interface Listed {
  readonly store: Store;
  readonly plane: Dataplane;
  readonly tookMs: number;
  readonly cpuMs: number;
}

/** From the first object handed over to the last row written; a second time over the same maps is a restarted agent. */
async function listOnce(maps: RealMaps, objects: readonly (readonly Change[])[]): Promise<Listed> {
  beginning('bench: sync, from objects to maps', 600);
  const begun = performance.now();
  const cpu = process.cpuUsage();
  const store = createStore({ nodeName: node.name });
  const plane = await openPlane(maps, store);
  store.subscribe({ onServices: (keys) => plane.update(keys) });
  for (const batch of objects) {
    store.changes(batch);
    await sleep(0);
  }
  store.synced();
  while (!plane.synced) await sleep(1);
  const { user, system } = process.cpuUsage(cpu);
  return {
    store,
    plane,
    tookMs: rounded(performance.now() - begun),
    cpuMs: rounded((user + system) / 1_000),
  };
}

function openPlane(maps: RealMaps, store: Store): Promise<Dataplane> {
  return Dataplane.open({
    maps,
    clock: { hz: 250, now: () => 0 },
    lifetimes,
    portsOf: (key) => buildServicePorts(store.service(key), store.slices(key), node),
  });
}

async function measureChanges(store: Store, plane: Dataplane): Promise<SyncFigures['oneChange']> {
  beginning('bench: sync, changes one by one', 600);
  const took: number[] = [];
  for (let i = 0; i < changes; i++) {
    await sleep(2);
    const begun = performance.now();
    store.changes([put(sliceObject((i * 7919) % services, i % 2 === 0 ? endpoints - 1 : endpoints + 1))]);
    await new Promise(setImmediate); // the store announces on the next turn
    await plane.idle();
    took.push(performance.now() - begun);
  }
  took.sort((a, b) => a - b);
  const at = (share: number): number =>
    rounded(took[Math.min(took.length - 1, Math.floor(took.length * share))]!);
  return { samples: took.length, medianMs: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}

/** A histogram of the loop's delays, and a ticker for memory. */
function startWatching(): { stop(): Pick<SyncFigures, 'longestLoopBlockMs' | 'rssMb'> } {
  const resolution = 1;
  const delay = monitorEventLoopDelay({ resolution });
  const before = rssMb();
  let peak = before;
  const ticker = setInterval(() => (peak = Math.max(peak, rssMb())), 20);
  delay.enable();
  return {
    stop: () => {
      delay.disable();
      clearInterval(ticker);
      const longest = rounded(Math.max(0, delay.max / 1e6 - resolution));
      return { longestLoopBlockMs: longest, rssMb: { before, peak, after: rssMb() } };
    },
  };
}

function rssMb(): number {
  return rounded(process.memoryUsage.rss() / 2 ** 20);
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

function put(object: ServiceObject | EndpointSliceObject): Change {
  return { op: 'put', object };
}

function serviceObject(i: number): ServiceObject {
  const raw = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: `team-${i % 50}`, name: `service-${i}`, uid: `s-${i}` },
    spec: {
      clusterIP: `10.${96 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`,
      ports: [{ name: 'http', port: 80, targetPort: 8080 }],
    },
  };
  return parsed('Service', raw) as ServiceObject;
}

function sliceObject(i: number, count: number): EndpointSliceObject {
  const address = (j: number): string =>
    `10.${128 + ((i >> 12) & 15)}.${(i >> 4) & 255}.${(i & 15) * 16 + j}`;
  const raw = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: `team-${i % 50}`,
      name: `service-${i}-x`,
      uid: `e-${i}`,
      labels: { 'kubernetes.io/service-name': `service-${i}` },
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: Array.from({ length: count }, (_, j) => ({
      addresses: [address(j)],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: `node-${j}`,
    })),
  };
  return parsed('EndpointSlice', raw) as EndpointSliceObject;
}

/** Through JSON, so that strings are as long-lived and as shared as those of a watch. */
function parsed(kind: 'Service' | 'EndpointSlice', raw: object): ServiceObject | EndpointSliceObject {
  const { object } = parseObject(kind, JSON.parse(JSON.stringify(raw)));
  if (object?.kind !== kind) throw new Error(`${kind} did not parse`);
  return object;
}
