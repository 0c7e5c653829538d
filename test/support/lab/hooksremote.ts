// The hooks room, run as a child process inside a namespace: netlink and links act on the namespace of the caller.
import { existsSync } from 'node:fs';
import {
  native,
  type BpfLink,
  type LinkMonitor,
  type NetworkChange,
  type TcDirection,
} from '../../../native/index.ts';
import { Attachments, type AttachOptions } from '../../../src/hooks/attach.ts';
import { cleanDatapath } from '../../../src/hooks/clean.ts';
import { cleanKubeProxy } from '../../../src/kernel/kubeproxy/leftovers.ts';
import { prepareLoopback, restoreLoopback } from '../../../src/kernel/sysctls.ts';
import { NetworkReader } from '../../../src/host/network.ts';
import { rolesOf } from '../../../src/host/roles.ts';
import type { HostNetwork } from '../../../src/host/host.ts';
import { loadDatapath, pinMissing, type Datapath } from '../../../src/hooks/load.ts';
import type { Oversized } from '../../../src/hooks/fit.ts';
import type { Loss } from '../../../src/hooks/takeover.ts';
import { linkPath, type LinkPin } from '../../../src/hooks/paths.ts';
import { findIntruders, type TcKind } from '../../../src/kernel/tcprograms.ts';
import { listen } from '../../../src/observe/channels.ts';
import { DeviceWatch } from '../../../src/hooks/watch.ts';
import type { MapName } from '../../../src/abi/layout.gen.ts';
import { objectFile, testConfig } from '../kernel/bpfrun.ts';
import { serve } from '../actors/remote.ts';

// Small tables: they are preallocated.
const sizes = {
  slb_flows4: 64,
  slb_flows6: 64,
  slb_half4: 64,
  slb_half6: 64,
  slb_maglev: 4096,
  slb_backends: 64,
};

let datapath: Datapath | undefined;
let attachments: Attachments | undefined;
let watch: DeviceWatch | undefined;

/** How often the kernel was asked for what. */
const asked = { devices: 0, addresses: 0, routes: 0, xdp: 0, tcx: 0 };
const kernel = native();
const { attachXdp, attachTcx } = kernel;
kernel.attachTcx = (...args) => {
  asked.tcx++;
  return attachTcx(...args);
};
kernel.attachXdp = (...args) => {
  asked.xdp++;
  return attachXdp(...args);
};
const reader = new NetworkReader({
  devices: () => (asked.devices++, kernel.devices()),
  addresses: () => (asked.addresses++, kernel.addresses()),
  defaultRouteDevices: () => (asked.routes++, kernel.defaultRouteDevices()),
});
let clockMs: number | undefined;
const held: BpfLink[] = [];
const changes: NetworkChange[] = [];
let monitor: LinkMonitor | undefined;

function loaded(): Datapath {
  if (datapath === undefined) throw new Error('not loaded');
  return datapath;
}

function attached(): Attachments {
  if (attachments === undefined) throw new Error('not attached');
  return attachments;
}

function surroundings(): HostNetwork {
  const network = reader.current();
  return { network, roles: rolesOf(network, { uplinks: [], detection: { mode: 'Device' } }) };
}

const tell = ({ map, error }: Loss | Oversized) => ({ map, code: error.code, detail: error.detail });
interface Row {
  readonly map: MapName;
  readonly key: string; // as the value in hexadecimal digits
  readonly value: string;
}
const fromHex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

const states = () => attached().states();
const indexOf = (name: string): number =>
  native()
    .devices()
    .find((device) => device.name === name)?.index ?? 0;

export const verbs = {
  async load({ bpffs, sizes: more = {} }: { bpffs: string; sizes?: Record<string, number> }) {
    const names = ['tc', 'xdp', 'sock', 'gate'] as const;
    const [tc, xdp, sock, gate] = names.map(objectFile) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    const objects = { tc, xdp, sock, gate };
    datapath = await loadDatapath({ bpffs, objects, config: testConfig, sizes: { ...sizes, ...more } });
    const ids = Object.fromEntries(Object.entries(datapath.maps).map(([name, map]) => [name, map.info.id]));
    const { tcIn, tcOut, xdpIn } = datapath.programs;
    const programs = { tcIn: tcIn.id, tcOut: tcOut.id, xdpIn: xdpIn.id };
    const { adopted, replaced, folder } = datapath;
    const [losses, oversized] = [datapath.losses.map(tell), datapath.oversized.map(tell)];
    return { adopted, replaced, folder, losses, oversized, ids, programs };
  },
  takeOver() {
    const { takeOver, folder } = loaded();
    return takeOver.run(folder).map(tell);
  },
  /** So many acts of it; answers what the last one was, or undefined when there were fewer. */
  takeOverUpTo(acts: number) {
    const { takeOver, folder } = loaded();
    const steps = takeOver.steps(folder);
    let last: string | undefined = 'loaded';
    for (let i = 0; i < acts && last !== undefined; i++) last = steps.next().value ?? undefined;
    return last;
  },
  putRow: ({ map, key, value }: Row) => loaded().maps[map].put(fromHex(key), fromHex(value)),
  getRow({ map, key }: Omit<Row, 'value'>) {
    const value = loaded().maps[map].get(fromHex(key));
    return value === undefined ? undefined : Buffer.from(value).toString('hex');
  },
  sizeOf: (map: MapName) => loaded().maps[map].info.maxEntries,
  attach(options: Omit<AttachOptions, 'programs'>) {
    reader.forget();
    attachments = new Attachments({
      ...options,
      programs: loaded().programs,
      now: () => clockMs ?? performance.now(),
    });
    attachments.reconcile(surroundings());
    return states();
  },
  reconcile() {
    reader.forget();
    attached().reconcile(surroundings());
    return states();
  },
  skipped: () =>
    attached()
      .skipped()
      .map(({ device, reason }) => ({ name: device.name, reason })),
  states,
  /** Whose first looks at everything fail, so many; tells what was asked for, in turn, until a look has not failed. */
  async tasksAfterFailures(failures: number) {
    const tasks: string[] = [];
    const told: string[] = [];
    const unlisten = listen('device.failed', ({ error }) => told.push((error as Error).message));
    let left = failures;
    await new Promise<void>((resolve) => {
      const failing = new DeviceWatch({
        note: () => undefined,
        update: () => tasks.push('update'),
        reconcile: () => {
          tasks.push('reconcile');
          if (left-- > 0) throw new Error('no');
          failing.stop();
          resolve();
        },
      });
      failing.start();
    });
    unlisten();
    return { tasks, told };
  },
  watch() {
    watch = new DeviceWatch({
      note: (change) => reader.note(change),
      update: () => attached().update(surroundings()),
      reconcile: () => {
        reader.forget();
        attached().reconcile(surroundings());
      },
      dueIn: () => reader.dueIn(),
    });
    watch.start();
  },
  unwatch: () => watch?.stop(),
  order: ({ device, direction }: { device: string; direction: TcDirection }) =>
    kernel.queryTcx(indexOf(device), direction).map(({ name }) => name),
  intruders: (kind: TcKind) => findIntruders(kernel, kind),
  /** Attaches a program of others that passes everything on, until this process ends. */
  passer(options: { device: string; direction: TcDirection; name: string; first?: boolean }) {
    const { device, direction, name, first = false } = options;
    const passOn = Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0); // r0 = TC_ACT_OK; exit
    const program = kernel.loadProgram({ type: 3, name, instructions: passOn });
    held.push(kernel.attachTcx(program, indexOf(device), direction, first));
  },
  asked: () => ({ ...asked }),
  /** The clock by which failing attempts are made again. */
  setClock: (ms: number) => (clockMs = ms),
  /** Without looking at everything. */
  update() {
    attached().update(surroundings());
    return states();
  },
  /**
   * With a device that was still there when devices were read; what is told of it, and of which devices there are
   * states.
   */
  updateWithGone(like: string) {
    const { network } = surroundings();
    const gone = network.devices
      .filter(({ name }) => name === like)
      .map((device) => ({ ...device, index: 999_999, name: 'gone0' }));
    const known = { ...network, devices: [...network.devices, ...gone] };
    const told: string[] = [];
    const unlisten = [
      listen('device.failed', ({ error }) => told.push((error as Error).message)),
      listen('device.attached', ({ device }) => told.push(`${device} attached`)),
    ];
    const roles = rolesOf(known, { uplinks: [], detection: { mode: 'Device' } });
    attached().update({ network: known, roles });
    for (const stop of unlisten) stop();
    return { told, names: states().map(({ name }) => name) };
  },
  follow() {
    monitor = kernel.monitorLinks((change) => {
      changes.push(change);
      reader.note(change);
    });
  },
  unfollow: () => monitor?.close(),
  /** What messages have made of it, and what the kernel says now. */
  networks: () => ({
    followed: reader.current(),
    read: {
      devices: kernel.devices(),
      addresses: kernel.addresses(),
      defaultRoutes: kernel.defaultRouteDevices(),
    },
  }),
  changes: () => changes.splice(0),
  devices: () => native().devices(),
  indexOf: (name: string) => indexOf(name),
  link({ bpffs, pin }: { bpffs: string; pin: LinkPin }) {
    if (!existsSync(linkPath(bpffs, pin))) return undefined;
    const link = native().openPinnedLink(linkPath(bpffs, pin));
    const found = { id: link.id, program: link.programId, ifindex: link.target };
    link.close();
    return found.ifindex === pin.target ? found : undefined;
  },
  detach({ bpffs, pin }: { bpffs: string; pin: LinkPin }) {
    const link = native().openPinnedLink(linkPath(bpffs, pin));
    link.detach();
    link.close();
  },
  repairPins: () => pinMissing(loaded()),
  prepareLoopback: (bpffs: string) => prepareLoopback(bpffs).map(({ message }) => message),
  restoreLoopback: (bpffs: string) => restoreLoopback(bpffs),
  cleanKubeProxy: () => cleanKubeProxy(),
  clean: (bpffs: string) => cleanDatapath(bpffs),
};

export type Verbs = typeof verbs;

serve(verbs);
