// What a device is by its type: hardware addresses have any length from 0 to 32 bytes, and only Ethernet's 6 are of use here. Pure.
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

/** "" where frames carry none. */
export function etherAddressOf(device: NetDevice): string {
  return hasEthernetHeader(device) && etherAddressForm.test(device.mac) ? device.mac : '';
}

/** Kinds that never carry a client's packet to us, or carry one that another device has shown already. */
const uselessKinds: Readonly<Record<string, string>> = {
  dummy: 'a dummy device carries nothing',
  ifb: 'an ifb device repeats the traffic of another',
  nlmon: 'a monitoring device carries nothing',
};

/** Why the data path never meets a device of this kind; undefined: it does. */
export function uselessness({ kind }: NetDevice): string | undefined {
  return uselessKinds[kind];
}

/**
 * Whether the data path may ask about the device: packets come in by it, or leave by it masqueraded. Without an Ethernet header
 * none of our programs runs at it, but a tunnel that is up may be the way out. A device without a row counts as a pod's, which is
 * without effect where no program runs.
 */
export function hasRow(device: NetDevice): boolean {
  return uselessness(device) === undefined && (hasEthernetHeader(device) || device.up);
}
