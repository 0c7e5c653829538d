// Chooses the devices that get programs, by --devices or by role, and their hooks. Pure.
import type { NetDevice, TcDirection } from '../../native/index.ts';
import type { HostNetwork } from '../host/host.ts';
import { hasEthernetHeader, whyUnused } from '../host/ethernet.ts';
import { compile, type Patterns } from '../host/patterns.ts';
import type { Role } from '../host/roles.ts';

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

/** Patterns that only exclude leave the other devices to the choice by role. */
export function chooseDevices({ network, roles }: HostNetwork, patterns: readonly string[]): DeviceChoice {
  const wanted = compile(patterns);
  const chosen: ChosenDevice[] = [];
  const skipped: SkippedDevice[] = [];
  for (const device of network.devices) {
    const role = roles.get(device.index) ?? 'other';
    const reason = unusable(device) ?? unwanted(device, role, wanted);
    if (reason === undefined) chosen.push({ device, role });
    else skipped.push({ device, reason });
  }
  return { chosen, skipped };
}

/**
 * At lo only egress: there connections of this host to its own NodePorts are translated. At ingress the same packets
 * would be seen again.
 */
export function directionsOf(role: Role): readonly TcDirection[] {
  return role === 'host' ? ['egress'] : ['ingress', 'egress'];
}

function unusable(device: NetDevice): string | undefined {
  return hasEthernetHeader(device) ? whyUnused(device) : 'no Ethernet header';
}

function unwanted({ name }: NetDevice, role: Role, wanted: Patterns): string | undefined {
  if (wanted.excludes(name)) return 'excluded by --devices';
  // Patterns of --devices do not apply to lo, unless they exclude it.
  if (role === 'host' || wanted.includes(name)) return undefined;
  if (wanted.including) return 'not named by --devices';
  return role === 'other' ? 'neither uplink nor tunnel nor pod device' : undefined;
}
