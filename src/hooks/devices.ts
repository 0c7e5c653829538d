// Which devices get programs: those that the patterns name, or the uplinks and the host sides of pods. Pure.
import type { NetDevice } from '../../native/index.ts';

/** uplink: carries a default route, or is hardware where nothing does. pod: the other end is in another namespace. */
export type Role = 'uplink' | 'pod' | 'other';

export interface ChosenDevice {
  readonly device: NetDevice;
  readonly role: Role;
}

export interface SkippedDevice {
  readonly device: NetDevice;
  readonly reason: string;
}

export interface DeviceChoice {
  readonly chosen: readonly ChosenDevice[];
  readonly skipped: readonly SkippedDevice[];
}

const arpEther = 1; // ARPHRD_ETHER
const arpLoopback = 772;

/** Kinds that never carry a client's packet to us, or carry one that another device has shown already. */
const uselessKinds: Readonly<Record<string, string>> = {
  dummy: 'a dummy device carries nothing',
  ifb: 'an ifb device repeats the traffic of another',
  nlmon: 'a monitoring device carries nothing',
};

/** A pattern has * and ?; one that begins with ! excludes. Excludes alone leave the default choice, less what they name. */
export function chooseDevices(
  devices: readonly NetDevice[],
  defaultRoutes: readonly number[],
  patterns: readonly string[],
): DeviceChoice {
  const excludes = patterns
    .filter((pattern) => pattern.startsWith('!'))
    .map((pattern) => glob(pattern.slice(1)));
  const includes = patterns.filter((pattern) => !pattern.startsWith('!')).map(glob);
  const isUplink = uplinkTest(devices, defaultRoutes);

  const chosen: ChosenDevice[] = [];
  const skipped: SkippedDevice[] = [];
  for (const device of devices) {
    const role = isUplink(device) ? 'uplink' : isPod(device) ? 'pod' : 'other';
    const reason = unusable(device) ?? unwanted(device, role, includes, excludes);
    if (reason === undefined) chosen.push({ device, role });
    else skipped.push({ device, reason });
  }
  return { chosen, skipped };
}

function uplinkTest(
  devices: readonly NetDevice[],
  defaultRoutes: readonly number[],
): (device: NetDevice) => boolean {
  // Routes of devices that have gone meanwhile do not count.
  const routed = new Set(defaultRoutes.filter((index) => devices.some((device) => device.index === index)));
  // A port of a bond or bridge is not an uplink by itself: its packets show at the master.
  return ({ index, physical, master }) => (routed.size > 0 ? routed.has(index) : physical && master === 0);
}

function isPod({ kind, peerElsewhere }: NetDevice): boolean {
  return kind === 'veth' && peerElsewhere;
}

function unusable({ arpType, kind }: NetDevice): string | undefined {
  if (arpType === arpLoopback) return 'loopback';
  if (arpType !== arpEther) return 'no Ethernet header';
  return uselessKinds[kind];
}

function unwanted(
  { name }: NetDevice,
  role: Role,
  includes: readonly RegExp[],
  excludes: readonly RegExp[],
): string | undefined {
  if (excludes.some((pattern) => pattern.test(name))) return 'excluded by --devices';
  if (includes.length > 0) {
    return includes.some((pattern) => pattern.test(name)) ? undefined : 'not named by --devices';
  }
  return role === 'other' ? 'neither uplink nor pod device' : undefined;
}

function glob(pattern: string): RegExp {
  const escaped = pattern.replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`);
}
