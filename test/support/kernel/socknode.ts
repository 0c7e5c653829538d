// The node on which the programs of sockets are tested: the namespace of the test, whose loopback has every backend's
// address, with servers that are not in the cgroup, and a process in there that makes calls. Service addresses lead
// nowhere: a socket that was not pointed at a backend gets ENETUNREACH.
import type { Test } from 'tap';
import { ip, sysctl } from '../run/alone.ts';
import type { Kind, ServiceSpec } from './rows.ts';
import { bothFamilies, end, type Addresses } from '../packet/addresses.ts';
import { SockBench, type SockOptions } from './sockrun.ts';
import { Caller, Sock } from './syscalls.ts';

const backendPort = 8080;
export const backendsOf = (who: Addresses): readonly string[] => [who.one, who.two, who.far];

/** Commands for ip(8). */
export function loopbackAddresses(): string[] {
  const of = (who: Addresses): string[] => [...backendsOf(who), who.client, who.other, who.node];
  const add = (who: Addresses, address: string): string =>
    `addr add ${address}/${who.family === 4 ? 32 : 128} dev lo`;
  return bothFamilies.flatMap((who) => of(who).map((address) => add(who, address)));
}

/** Once a process, which must be alone in its namespace. */
export function buildLoopback(): void {
  sysctl({ 'net.ipv6.conf.all.accept_dad': 0, 'net.ipv4.ping_group_range': '0 0' });
  ip('link set lo up', ...loopbackAddresses());
}

/** TCP and UDP at port 8080 of every backend's address. */
export class Servers {
  readonly #caller: Caller;
  readonly #sockets = new Map<string, Sock>();

  private constructor(caller: Caller) {
    this.#caller = caller;
  }

  static async start(t: Pick<Test, 'teardown'>, caller = Caller.start()): Promise<Servers> {
    t.teardown(() => caller.kill());
    const servers = new Servers(caller);
    for (const who of bothFamilies)
      for (const address of backendsOf(who)) await servers.serve(who, address, backendPort);
    return servers;
  }

  async serve(who: Addresses, address: string, port: number): Promise<void> {
    const tcp = await this.#caller.open(who.family, 'tcp', { bind: [address, port] });
    await tcp.listen();
    this.#sockets.set(`tcp ${end(address, port)}`, tcp);
    const udp = await this.#caller.open(who.family, 'udp', { bind: [address, port] });
    this.#sockets.set(`udp ${end(address, port)}`, udp);
  }

  private at(protocol: 'tcp' | 'udp', where: string): Sock {
    const socket = this.#sockets.get(`${protocol} ${where}`);
    if (socket === undefined) throw new Error(`no server at ${protocol} ${where}`);
    return socket;
  }

  /** That client's connection, past those of other clients. */
  async accept(where: string, client: string): Promise<Sock> {
    for (;;) {
      const accepted = await this.at('tcp', where).accept();
      if ((await accepted.peer()) === client) return accepted;
      await accepted.close();
    }
  }

  /** Receives a datagram there and sends it back; answers its sender. */
  async echo(where: string): Promise<string> {
    const socket = this.at('udp', where);
    const [data = '', from = ''] = (await socket.receive()).split(' from ');
    const [, address = '', port] = /^\[?(.*?)\]?:(\d+)$/.exec(from) ?? [];
    await socket.sendTo(address, Number(port), { text: data });
    return from;
  }
}

export interface SocketNode {
  readonly bench: SockBench;
  readonly caller: Caller;
  /** Another process in the cgroup; ends with the test. */
  readonly enter: (caller: Caller) => Promise<Caller>;
}

export async function socketNode(t: Pick<Test, 'teardown'>, options: SockOptions = {}): Promise<SocketNode> {
  const bench = new SockBench(options);
  const callers: Caller[] = [];
  t.teardown(async () => {
    for (const caller of callers) await caller.kill();
    bench.close();
  });
  const enter = async (caller: Caller): Promise<Caller> => {
    callers.push(caller);
    await caller.move(bench.cgroup);
    return caller;
  };
  return { bench, caller: await enter(Caller.start()), enter };
}

let ports = 1000;

/** A service port of its own, with the three backends unless told otherwise. */
export function spec(who: Addresses, kind: Kind = 'cluster', more: Partial<ServiceSpec> = {}): ServiceSpec {
  const addresses = { cluster: who.vip, external: who.external, balancer: who.balancer, node: who.node };
  const backends = backendsOf(who).map((address) => ({ address, port: backendPort }));
  return { kind, address: addresses[kind], port: ++ports, protocol: 'tcp', backends, ...more };
}

/** An IPv4 address as IPv6 sockets write it. */
export const mapped = (address: string): string => `::ffff:${address}`;

export interface Dialled {
  /** "SOCKET_NEW done [fd96::1]:1001": what was decided, what connect() gave, and who is said to be the peer. */
  readonly fate: string;
  /** Where it was pointed. */
  readonly backend: string | undefined;
}

/** Connects the socket, and closes it. */
export async function dial(bench: SockBench, socket: Sock, address: string, port: number): Promise<Dialled> {
  const [outcome, verdicts] = await bench.during(() => socket.connect(address, port));
  const peer = outcome === 'done' ? [await socket.peer()] : [];
  const backend = bench.pointed(socket.cookie)[0]?.backend;
  await socket.close();
  return { fate: [verdicts, outcome, ...peer].join(' '), backend };
}
