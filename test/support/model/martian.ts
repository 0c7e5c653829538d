// RFC 3704: whether a packet can have come from its source, as far as this host's rp_filter wants to know.
import type { Read } from './read.ts';
import type { Route } from './plan.ts';
import type { World } from './world.ts';

const ethernet = 14; // bytes of the header without tags

/** Never a source, whatever the settings are: unspecified, multicast, or this host's own. */
function impossible(world: World, { src, family }: Read): boolean {
  const first = Number.parseInt(src, family === 4 ? 10 : 16);
  const reserved =
    family === 4
      ? first === 0 || (first >= 224 && first < 240) || src === '255.255.255.255'
      : src === '::' || first >> 8 === 0xff;
  return reserved || world.addresses.get(src)?.node === true;
}

/** `back`: the way to the packet's source. Packets with two tags may come from wherever a way leads. */
export function isMartian(
  world: World,
  ifindex: number,
  frame: Uint8Array,
  read: Read,
  back: Route,
): boolean {
  if (impossible(world, read)) return true;
  const device = world.devices.get(ifindex);
  const filter = (read.family === 4 ? device?.rpFilter : device?.rpFilter6) ?? 0;
  if (filter === 0 || (read.family === 6 && /^fe[89ab]/.test(read.src))) return false;
  if (typeof back === 'string') return true;
  if (filter === 2 || read.l3 > ethernet + 4) return false;
  const tag = read.l3 === ethernet ? 0 : (((frame[14] ?? 0) & 0xf) << 8) | (frame[15] ?? 0);
  return tag !== 0 || back.ifindex !== ifindex;
}
