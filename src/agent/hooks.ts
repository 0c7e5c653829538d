// Where the programs are attached: tc and XDP at network devices, socket hooks at the cgroup of the node. A watch
// attaches to new devices, and repairs every half minute what another program has detached.
import type { Config } from '../config/schema.ts';
import { Attachments } from '../hooks/attach.ts';
import { SocketHooks } from '../hooks/cgroup.ts';
import { pinMissing, type Datapath } from '../hooks/load.ts';
import { DeviceWatch } from '../hooks/watch.ts';
import type { Host } from '../host/host.ts';
import type { Features } from '../kernel/features.ts';
import type { Store } from '../source/store.ts';
import { reportLosses, type OwnDatapath } from './datapath.ts';
import { Exemptions } from './exemptions.ts';
import type { Lifecycle } from './lifecycle.ts';

export interface Hooks {
  readonly attachments: Attachments;
  readonly sockets: SocketHooks;
  readonly exemptions: Exemptions;
}

/** Attaches nothing. Throws SLB_E_SOCKETS where --socket-hooks on cannot be met. */
export function createHooks(
  config: Config,
  features: Features,
  datapath: Datapath,
  store: Store,
  lifecycle: Lifecycle,
): Hooks {
  const sockets = createSocketHooks(config, features, datapath);
  sockets.check();
  const { socketHooksSkip: skip } = config;
  const map = datapath.maps.slb_exempt;
  const exemptions = new Exemptions({ cgroup: features.cgroup, skip, map, store });
  lifecycle.onStop(() => exemptions.stop());
  return { attachments: createAttachments(config, features, datapath), sockets, exemptions };
}

function createAttachments(
  { bpffs, devices, xdp, tcxOrder }: Config,
  { tcx }: Features,
  { programs }: Datapath,
): Attachments {
  return new Attachments({ bpffs, programs, patterns: devices, xdp, tc: tcx ? 'tcx' : 'clsact', tcxOrder });
}

function createSocketHooks(
  { bpffs, socketHooks: choice }: Config,
  { cgroup }: Features,
  { sockets: programs, maps }: Datapath,
): SocketHooks {
  // With --socket-hooks off, sockets that were connected by hooks before keep those of recvmsg() and getpeername()
  // until they close.
  const inUse = (): boolean => maps.slb_sockets.readBatch(undefined, 1).count > 0;
  return new SocketHooks({ bpffs, cgroup, programs, choice, inUse });
}

/** The watch attaches nothing before its start(). */
export function watchDevices(
  datapath: OwnDatapath,
  { attachments, sockets, exemptions }: Hooks,
  host: Host,
): DeviceWatch {
  return new DeviceWatch({
    note: (change) => host.note(change),
    dueIn: () => host.dueIn(),
    // A program needs the row of its device before its first packet.
    update: () => attachments.update(host.refresh()),
    reconcile: () => {
      datapath.lock.renew();
      // The first call replaces the programs and maps of an earlier agent; later calls do nothing.
      reportLosses(datapath.takeOver.run(datapath.folder));
      pinMissing(datapath);
      host.forget();
      attachments.reconcile(host.refresh());
      // The rows of exempt cgroups must be there before the programs that read them.
      exemptions.refresh();
      sockets.reconcile();
      void exemptions.search();
    },
  });
}
