// The model's decision for the first packet of a connection: which service port, whether the client is allowed, which
// list of backends, which of them, and whether the backend sees the address of the client.
import { slbFrontendKind, slbRangeKind } from '../../../src/abi/layout.gen.ts';
import { parseAddress, familyOf } from '../../../src/net/ip.ts';
import { hashOfClient, hashOfTuple } from './hash.ts';
import { numbers, type Tuple } from './read.ts';
import { frontendKey, inRange, type Backend, type List, type Service, type World } from './world.ts';
import { unspecified } from '../../../src/model/frontends.ts';

export type Client = 'pod' | 'host' | 'remote pod' | 'outside';
export type Hook = 'in' | 'out' | 'xdp';

export interface Dialled {
  readonly service: Service;
  readonly kind: number;
}

export interface Policy {
  readonly list: 'cluster' | 'local';
  readonly masquerade: boolean;
}

export interface Affine {
  backend: number;
  seen: number;
}

/** A verdict in place of an answer. */
export type No = string;

const bytesOf = (address: string): Uint8Array => parseAddress(address) ?? new Uint8Array(16);

/** Whether services are dialled at this address and the packet's source port. */
export function isFrontend(world: World, address: string, { sport, proto }: Tuple): boolean {
  const at = world.addresses.get(address);
  const has = (where: string): boolean => world.frontends.has(frontendKey(where, sport, proto));
  return (at?.service === true && has(address)) || (at?.node === true && has(unspecified[familyOf(address)]));
}

/** S-51: an exact frontend first, then a NodePort where those answer. */
export function findFrontend(world: World, hook: Hook, tuple: Tuple): Dialled | No {
  const { src, dst, dport, proto } = tuple;
  const at = world.addresses.get(dst);
  const forged = hook !== 'out' && (src.startsWith('127.') || src === '::1'); // S-57
  if (at === undefined || forged) return 'NOT_OURS';
  if (at.cluster && at.node) return 'OWN_ADDRESS'; // S-48
  // What this host is sent back comes in from a frontend, and may be for a port that is also a NodePort.
  const injected = hook !== 'out' && isFrontend(world, src, tuple);
  const nodePort = at.nodePort && !injected && (!at.loopback || hook === 'out'); // S-57
  const found =
    world.frontends.get(frontendKey(dst, dport, proto)) ??
    (nodePort ? world.frontends.get(frontendKey(unspecified[familyOf(dst)], dport, proto)) : undefined);
  if (found === undefined) return at.cluster ? 'REFUSED_PORT' : at.service ? 'NO_SUCH_PORT' : 'NOT_OURS';
  const service = world.services.get(found.service);
  return service === undefined ? 'DROP_STALE' : { service, kind: found.kind };
}

/** S-61, and our denial: before anything is said about endpoints (S-47). */
export function admits(world: World, { service, kind }: Dialled, src: string): boolean {
  if (kind === slbFrontendKind.KIND_CLUSTER_IP) return true;
  const source = bytesOf(src);
  if (service.deny && inRange(world, slbRangeKind.RANGE_DENY, service.id, source)) return false;
  if (kind !== slbFrontendKind.KIND_LOAD_BALANCER || !service.allow) return true;
  return inRange(world, slbRangeKind.RANGE_ALLOW, service.id, source);
}

export function clientOf(world: World, hook: Hook, ifindex: number, src: string, ranges: boolean): Client {
  if (hook === 'out') return 'host';
  const role = world.devices.get(ifindex)?.role ?? 'pod';
  if (role === 'pod') return 'pod';
  return ranges && inRange(world, slbRangeKind.RANGE_POD, 0, bytesOf(src)) ? 'remote pod' : 'outside';
}

/** S-39, S-40, S-63 … S-65. */
export function policyOf({ service, kind }: Dialled, client: Client, masqueradeAll: boolean): Policy {
  if (kind === slbFrontendKind.KIND_CLUSTER_IP) {
    const masquerade = masqueradeAll || client === 'outside';
    return { list: service.internalLocal ? 'local' : 'cluster', masquerade };
  }
  if (!service.externalLocal) return { list: 'cluster', masquerade: true };
  const near = client === 'pod' || client === 'host';
  return { list: near ? 'cluster' : 'local', masquerade: false };
}

function byHash(world: World, list: List, hash: number): Backend | undefined {
  const position = list.positions[hash % list.positions.length] ?? -1;
  return world.backends.get(list.members[position] ?? 0);
}

export interface Affinity {
  readonly entries: Map<string, Affine>;
  readonly now: number;
}

/** S-43, S-77 … S-79, S-83. */
export function choose(
  world: World,
  service: Service,
  listName: Policy['list'],
  tuple: Tuple,
  { entries, now }: Affinity,
): Backend | No {
  const list = service[listName];
  if (list.members.length === 0) {
    if (service.anyEndpoint) return 'DROP_NO_LOCAL';
    return tuple.proto === numbers.tcp ? 'REFUSED_RST' : 'REFUSED_UNREACHABLE';
  }
  if (service.affinitySec === 0) return byHash(world, list, hashOfTuple(tuple, world.seed)) ?? 'DROP_STALE';
  const key = `${tuple.src} ${String(service.id)}`;
  const entry = entries.get(key);
  const kept =
    entry !== undefined && now - entry.seen < service.affinitySec && list.members.includes(entry.backend)
      ? world.backends.get(entry.backend)
      : undefined;
  const hash = entry === undefined ? hashOfClient(tuple, world.seed) : hashOfTuple(tuple, world.seed);
  const backend = kept ?? byHash(world, list, hash);
  if (backend === undefined) return 'DROP_STALE';
  entries.set(key, { backend: backend.id, seen: now });
  return backend;
}
