// Link types of devices. Hardware addresses have 0 to 32 bytes; only those of Ethernet, with 6, are used here. Pure.
import type { NetDevice } from '../../native/index.ts';

const arpEther = 1; // ARPHRD_ETHER
const arpLoopback = 772; // ARPHRD_LOOPBACK: Ethernet headers, of zeros

export function isLoopbackDevice({ arpType }: NetDevice): boolean {
  return arpType === arpLoopback;
}

export function hasEthernetHeader(device: NetDevice): boolean {
  return device.arpType === arpEther || isLoopbackDevice(device);
}

const etherAddressForm = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/;

/** "" for devices whose frames have none. */
export function etherAddressOf(device: NetDevice): string {
  return hasEthernetHeader(device) && etherAddressForm.test(device.mac) ? device.mac : '';
}

/** Kinds that carry no packets of clients, or only copies of those of another device. */
const unusedKinds: Readonly<Record<string, string>> = {
  dummy: 'a dummy device carries nothing',
  ifb: 'an ifb device repeats the traffic of another',
  nlmon: 'a monitoring device carries nothing',
};

/** Why no program is needed at a device of this kind; undefined: one is. */
export function whyUnused({ kind }: NetDevice): string | undefined {
  return unusedKinds[kind];
}

/**
 * Whether the device needs a row: packets come in by it, or leave by it masqueraded. Without an Ethernet header no
 * program runs at it, but packets may leave by a tunnel that is up. A device without a row counts as a pod's, which has
 * no effect where no program runs.
 */
export function hasRow(device: NetDevice): boolean {
  return whyUnused(device) === undefined && (hasEthernetHeader(device) || device.up);
}
