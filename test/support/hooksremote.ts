// The hooks room, run as a child process inside a namespace: netlink and links act on the namespace of the caller.
import { existsSync } from 'node:fs';
import { native } from '../../native/index.ts';
import { Attachments, type AttachOptions } from '../../src/hooks/attach.ts';
import { cleanDatapath } from '../../src/hooks/clean.ts';
import { cleanKubeProxy } from '../../src/hooks/leftovers.ts';
import { prepareLoopback, restoreLoopback } from '../../src/hooks/sysctls.ts';
import { readNetwork } from '../../src/host/network.ts';
import { rolesOf } from '../../src/host/roles.ts';
import type { Surroundings } from '../../src/host/host.ts';
import { loadDatapath, pinMissing, type Datapath } from '../../src/hooks/load.ts';
import { linkPath, type LinkPin } from '../../src/hooks/layout.ts';
import { DeviceWatch } from '../../src/hooks/watch.ts';
import { objectFile, testConfig } from './bpfrun.ts';
import { serve } from './remote.ts';

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

function loaded(): Datapath {
  if (datapath === undefined) throw new Error('not loaded');
  return datapath;
}

function attached(): Attachments {
  if (attachments === undefined) throw new Error('not attached');
  return attachments;
}

function surroundings(): Surroundings {
  const network = readNetwork();
  return { network, roles: rolesOf(network, { uplinks: [], detection: { mode: 'Device' } }) };
}

const states = () => attached().states();
const indexOf = (name: string): number =>
  native()
    .devices()
    .find((device) => device.name === name)?.index ?? 0;

export const verbs = {
  load({ bpffs, sizes: more = {} }: { bpffs: string; sizes?: Record<string, number> }) {
    const objects = { tc: objectFile('tc'), xdp: objectFile('xdp'), sock: objectFile('sock') };
    datapath = loadDatapath({ bpffs, objects, config: testConfig, sizes: { ...sizes, ...more } });
    const ids = Object.fromEntries(Object.entries(datapath.maps).map(([name, map]) => [name, map.info.id]));
    const { tcIn, tcOut, xdpIn } = datapath.programs;
    const programs = { tcIn: tcIn.id, tcOut: tcOut.id, xdpIn: xdpIn.id };
    return { adopted: datapath.adopted, warnings: datapath.warnings, ids, programs };
  },
  attach(options: Omit<AttachOptions, 'programs'>) {
    attachments = new Attachments({ ...options, programs: loaded().programs });
    attachments.reconcile(surroundings());
    return states();
  },
  reconcile() {
    attached().reconcile(surroundings());
    return states();
  },
  skipped: () =>
    attached()
      .skipped()
      .map(({ device, reason }) => ({ name: device.name, reason })),
  states,
  watch() {
    watch = new DeviceWatch(() => attached().reconcile(surroundings()));
    watch.start();
  },
  unwatch: () => watch?.stop(),
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
  repairPins: (bpffs: string) => pinMissing(bpffs, loaded().maps),
  prepareLoopback: (bpffs: string) => prepareLoopback(bpffs).map(({ message }) => message),
  restoreLoopback: (bpffs: string) => restoreLoopback(bpffs),
  cleanKubeProxy: () => cleanKubeProxy(),
  clean: (bpffs: string) => cleanDatapath(bpffs),
};

export type Verbs = typeof verbs;

serve(verbs);
