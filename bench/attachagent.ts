// A child process in the namespace of the node: what an agent does with devices, and when it does it.
import { native } from '../native/index.ts';
import { Attachments } from '../src/hooks/attach.ts';
import { loadDatapath } from '../src/hooks/load.ts';
import { DeviceWatch } from '../src/hooks/watch.ts';
import { Host } from '../src/host/host.ts';
import { objectFile, testConfig } from '../test/support/kernel/bpfrun.ts';
import { serve } from '../test/support/actors/remote.ts';

const sizes = {
  slb_flows4: 64,
  slb_flows6: 64,
  slb_half4: 64,
  slb_half6: 64,
  slb_maglev: 4096,
  slb_backends: 64,
};
const kernel = native();
const { attachTcx } = kernel;
/**
 * Nanoseconds of the machine's clock at which a program was handed to the kernel for the ingress of a device, by
 * ifindex.
 */
const handed = new Map<number, string>();
kernel.attachTcx = (program, ifindex, direction, first) => {
  if (direction === 'ingress') handed.set(ifindex, String(process.hrtime.bigint()));
  return attachTcx(program, ifindex, direction, first);
};
let watch: DeviceWatch | undefined;

export const verbs = {
  async start(bpffs: string) {
    const objects = {
      tc: objectFile('tc'),
      xdp: objectFile('xdp'),
      sock: objectFile('sock'),
      gate: objectFile('gate'),
    };
    const { programs } = await loadDatapath({ bpffs, objects, config: testConfig, sizes });
    const attachments = new Attachments({
      bpffs,
      programs,
      patterns: [],
      xdp: 'auto',
      tc: 'tcx',
      tcxOrder: 'first',
    });
    const host = new Host(
      {
        uplinks: [],
        detection: { mode: 'Device' },
        nodeAddresses: [],
        nodePorts: { addresses: [], localhost: true },
      },
      { node: () => undefined },
    );
    watch = new DeviceWatch({
      note: (change) => host.note(change),
      update: () => attachments.update(host.refresh()),
      reconcile: () => {
        host.forget();
        attachments.reconcile(host.refresh());
      },
    });
    watch.start();
  },
  handed: (ifindex: number) => handed.get(ifindex),
  stop: () => watch?.stop(),
};

export type Verbs = typeof verbs;

serve(verbs);
