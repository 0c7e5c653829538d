// A small network of real namespaces. A router joins hosts and nodes, each on a cable of its own; pods hang on their
// node as the CNI plugins bridge and ptp would wire them:
//
//   host ── eth0 ──┐                         ┌── bridge cni0 ─┬─ pod
//                  router ── eth0 ── node ───┤                └─ pod
//   host ── eth0 ──┘                         └── ptp ─────────── pod
//
// Every lab uses the same addresses, in namespaces of its own:
//   cable L of the router   172.20.L.0/24     fd00:20:L::/64    router .1, the other end .2
//   pods of node N          10.244.N.0/24     fd00:244:N::/64   bridge .1-.127, ptp .129-
//   services                10.96.0.0/16      fd00:96::/64      routed to the first node
//   other service addresses 172.30.N.0/24     fd00:30:N::/64    routed to node N, as a cloud's load balancer would
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Netns, veth } from '../actors/netns.ts';
import { cgroupRoot, ownBpffs, ownName, sweepOwn } from '../run/owner.ts';
import { Actor } from '../actors/traffic.ts';

export interface Machine {
  readonly name: string;
  readonly netns: Netns;
  readonly actor: Actor;
  readonly v4: string;
  readonly v6: string;
}

/** A machine has an address of each. */
export const families = ['v4', 'v6'] as const;
export type FamilyKey = (typeof families)[number];

export type Wiring = 'bridge' | 'ptp';

const forwarding = { 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 };

/** 1500 bytes is what the routes of a cable carry unless `mtu` says less: the router then answers "too big". */
interface CableOptions {
  readonly mtu?: number;
  readonly cgroup?: string | undefined;
}

/** Folders of a node's own: for --bpffs and --cgroup. Its processes, and those of its pods, are in that cgroup. */
interface Folders {
  readonly bpffs: string;
  readonly cgroup: string | undefined;
}

function makeFolders(name: string): Folders {
  const bpffs = ownBpffs(name);
  const root = cgroupRoot();
  const cgroup = root === undefined ? undefined : join(root, ownName(name));
  if (cgroup !== undefined) mkdirSync(cgroup);
  return { bpffs, cgroup };
}

export class LabNode implements Machine {
  readonly name: string;
  readonly netns: Netns;
  readonly actor: Actor;
  readonly v4: string;
  readonly v6: string;
  readonly bpffs: string;
  readonly cgroup: string | undefined;
  readonly #index: number;
  readonly #actors: Actor[];
  #bridged = 0;
  #routed = 0;

  constructor(machine: Machine, folders: Folders, index: number, actors: Actor[]) {
    ({ name: this.name, netns: this.netns, actor: this.actor, v4: this.v4, v6: this.v6 } = machine);
    this.#index = index;
    this.#actors = actors;
    ({ bpffs: this.bpffs, cgroup: this.cgroup } = folders);
  }

  async setUpPods(): Promise<void> {
    await this.netns.sysctl(forwarding);
    await this.netns.ip([
      // Its own address, as the CNI plugin gives it; else it is that of some port, and another when pods come and go.
      `link add cni0 address 0a:58:0a:f4:${String(this.#index).padStart(2, '0')}:01 type bridge`,
      'link set cni0 up',
      `addr add ${this.#pod4(1)}/25 dev cni0`,
      `addr add ${this.#pod6('1')}/80 dev cni0 nodad`,
    ]);
  }

  async pod(name: string, wiring: Wiring = 'bridge'): Promise<Machine> {
    const netns = await Netns.create(name, this.cgroup);
    const device = `v-${name}`;
    await veth({ netns: this.netns, device }, { netns, device: 'eth0' });
    const address = wiring === 'bridge' ? this.#bridgeAddress() : this.#ptpAddress();
    if (wiring === 'bridge') await this.#joinBridge(netns, device, address);
    else await this.#joinPtp(netns, device, address);
    const actor = await Actor.start(netns);
    this.#actors.push(actor);
    return { name, netns, actor, ...address };
  }

  #pod4(host: number): string {
    return `10.244.${String(this.#index)}.${String(host)}`;
  }

  #pod6(rest: string): string {
    return `fd00:244:${String(this.#index)}::${rest}`;
  }

  #ptp6(rest: string): string {
    return `fd00:244:${String(this.#index)}:0:1::${rest}`;
  }

  #bridgeAddress(): { v4: string; v6: string } {
    const host = ++this.#bridged + 1;
    return { v4: this.#pod4(host), v6: this.#pod6(host.toString(16)) };
  }

  #ptpAddress(): { v4: string; v6: string } {
    const host = ++this.#routed + 1;
    return { v4: this.#pod4(128 + host), v6: this.#ptp6(host.toString(16)) };
  }

  async #joinBridge(netns: Netns, device: string, { v4, v6 }: { v4: string; v6: string }): Promise<void> {
    await this.netns.ip([`link set ${device} master cni0 up`]);
    await netns.ip([
      'link set eth0 up',
      `addr add ${v4}/25 dev eth0`,
      `addr add ${v6}/80 dev eth0 nodad`,
      `route add default via ${this.#pod4(1)}`,
      `route add default via ${this.#pod6('1')}`,
    ]);
  }

  /** As CNI ptp: the gateway is reached through a host route, the node routes each pod to its own device. */
  async #joinPtp(netns: Netns, device: string, { v4, v6 }: { v4: string; v6: string }): Promise<void> {
    const gateway4 = this.#pod4(129);
    const gateway6 = this.#ptp6('1');
    await this.netns.ip([
      `link set ${device} up`,
      `addr add ${gateway4}/32 dev ${device}`,
      `addr add ${gateway6}/128 dev ${device} nodad`,
      `route add ${v4}/32 dev ${device}`,
      `route add ${v6}/128 dev ${device}`,
    ]);
    await netns.ip([
      'link set eth0 up',
      `addr add ${v4}/32 dev eth0`,
      `addr add ${v6}/128 dev eth0 nodad`,
      `route add ${gateway4} dev eth0 scope link`,
      `route add ${gateway6} dev eth0`,
      `route add default via ${gateway4}`,
      `route add default via ${gateway6}`,
    ]);
  }
}

export class Lab {
  readonly router: Netns;
  readonly #actors: Actor[] = [];
  #cables = 0;
  #nodes = 0;

  private constructor(router: Netns) {
    this.router = router;
  }

  static async create(): Promise<Lab> {
    const lab = new Lab(await Netns.create('router'));
    await lab.router.sysctl(forwarding);
    return lab;
  }

  /** A machine on the router: a client outside, or a backend that is no pod. */
  async host(name: string, { mtu, cgroup }: CableOptions = {}): Promise<Machine> {
    const netns = await Netns.create(name, cgroup);
    const leg = ++this.#cables;
    const near = `leg${String(leg)}`;
    await veth({ netns: this.router, device: near }, { netns, device: 'eth0' });
    const [net4, net6] = [`172.20.${String(leg)}`, `fd00:20:${String(leg)}::`];
    // The MTU stands on the router's routes, not on the device: both ends keep announcing a full-size MSS.
    const narrow = mtu === undefined ? '' : ` mtu ${String(mtu)}`;
    await this.router.ip([
      `link set ${near} up`,
      `addr add ${net4}.1/24 dev ${near}`,
      `addr add ${net6}1/64 dev ${near} nodad`,
      ...(mtu === undefined ? [] : [`route add ${net4}.2/32 dev ${near}${narrow}`]),
      ...(mtu === undefined ? [] : [`route add ${net6}2/128 dev ${near}${narrow}`]),
    ]);
    await netns.ip([
      'link set eth0 up',
      `addr add ${net4}.2/24 dev eth0`,
      `addr add ${net6}2/64 dev eth0 nodad`,
      `route add default via ${net4}.1`,
      `route add default via ${net6}1`,
    ]);
    const actor = await Actor.start(netns);
    this.#actors.push(actor);
    return { name, netns, actor, v4: `${net4}.2`, v6: `${net6}2` };
  }

  async node(name: string): Promise<LabNode> {
    const folders = makeFolders(name);
    const machine = await this.host(name, { cgroup: folders.cgroup });
    const index = ++this.#nodes;
    const node = new LabNode(machine, folders, index, this.#actors);
    await node.setUpPods();
    await this.router.ip([
      `route add 10.244.${String(index)}.0/24 via ${node.v4}`,
      `route add fd00:244:${String(index)}::/64 via ${node.v6}`,
      `route add 172.30.${String(index)}.0/24 via ${node.v4}`,
      `route add fd00:30:${String(index)}::/64 via ${node.v6}`,
      ...(index === 1
        ? [`route add 10.96.0.0/16 via ${node.v4}`, `route add fd00:96::/64 via ${node.v6}`]
        : []),
    ]);
    return node;
  }

  /** Ends every process of the lab and removes its namespaces and folders. */
  async close(): Promise<void> {
    await Promise.all(this.#actors.map((actor) => actor.close()));
    sweepOwn();
  }
}
