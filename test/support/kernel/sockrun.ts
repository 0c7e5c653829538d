// The real programs of sockets at a cgroup of the test's own, over small maps: what they do is seen from processes in
// there.
import { mkdirSync, rmdirSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { native, type BpfLink, type BpfMap, type BpfObject } from '../../../native/index.ts';
import { decode, encode } from '../../../src/abi/codec.ts';
import * as abi from '../../../src/abi/layout.gen.ts';
import type { MapName } from '../../../src/abi/layout.gen.ts';
import { isAtLeast } from '../../../src/kernel/features.ts';
import { attachTypes, programName, socketHooks } from '../../../src/hooks/cgroupattach.ts';
import { formatAddress } from '../../../src/net/ip.ts';
import { statsOf, verdictCounts, verdictsBetween } from './counts.ts';
import { Rows, u32 } from './rows.ts';
import { buildObjects, objectFile, smallMaps, testConfig } from './bpfrun.ts';
import { end } from '../packet/addresses.ts';
import { cgroupRoot, ownName, sweepOnExit } from '../run/owner.ts';

/** Whether a program may say what a connect() ends with. */
export const refuses = isAtLeast(release(), 6, 1);
/** Whether the kernel tells which namespace is ours; else every process of a test counts as a pod's. */
export const knowsHost = native().netnsCookie() !== 0n;

export interface SockOptions {
  readonly sizes?: Partial<Record<MapName, number>>;
  readonly config?: Partial<abi.SlbConfigRow>;
}

/** What a row of slb_sockets says, in words. */
export interface Pointed {
  readonly frontend: string;
  readonly backend: string;
  readonly client: string;
  readonly flags: string;
  readonly service: number;
}

export class SockBench extends Rows {
  readonly config: abi.SlbConfigRow;
  /** Folder. */
  readonly cgroup: string;
  readonly #object: BpfObject;
  readonly #links: readonly BpfLink[];

  constructor({ sizes = {}, config = {} }: SockOptions = {}) {
    super();
    buildObjects();
    sweepOnExit();
    this.cgroup = join(cgroupRoot() ?? '', ownName('sock'));
    this.config = {
      ...testConfig,
      netns: native().netnsCookie(),
      socketRefuse: refuses ? 1 : 0,
      socketHooks: 1,
      ...config,
    };
    this.#object = native().openObject(objectFile('sock'), 'sock');
    this.#object.setInitialValue(abi.configMap, encode(abi.slbConfig, this.config));
    for (const [name, entries] of Object.entries({ ...smallMaps, slb_sockets: 4096, ...sizes }))
      if (this.#object.maps().includes(name)) this.#object.setMaxEntries(name, entries);
    this.#object.load();
    mkdirSync(this.cgroup);
    this.#links = socketHooks.map((hook) => {
      return native().attachCgroup(this.#object.program(programName(hook)), this.cgroup, attachTypes[hook]);
    });
  }

  map(name: MapName): BpfMap {
    return this.#object.map(name);
  }

  /** Its processes must have ended. */
  close(): void {
    for (const link of this.#links) link.close();
    this.#object.close();
    rmdirSync(this.cgroup);
  }

  /** What the programs decided meanwhile, and what the action gave. */
  async during<T>(action: () => Promise<T>): Promise<readonly [result: T, verdicts: string]> {
    const before = this.#verdicts();
    const result = await action();
    return [result, verdictsBetween(before, this.#verdicts()).join(' ')];
  }

  #verdicts(): bigint[] {
    return verdictCounts(this.map('slb_verdicts'), abi.slbHook.HOOK_SOCK);
  }

  stats(name: 'slb_svc_stats' | 'slb_be_stats', id: number): abi.SlbStatsRow {
    return statsOf(this.map(name), id);
  }

  row(cookie: bigint, index = 0): abi.SlbSocketRow | undefined {
    const found = this.map('slb_sockets').get(encode(abi.slbSocketKey, { cookie, index }));
    return found && decode(abi.slbSocket, found);
  }

  /** By index. */
  pointed(cookie: bigint): Pointed[] {
    const rows = Array.from({ length: abi.slbLimits.SOCKET_PEERS }, (_, index) => this.row(cookie, index));
    return rows.filter((row) => row !== undefined).map(describe);
  }

  /** How many rows there are. */
  count(): number {
    return this.map('slb_sockets').readBatch(undefined, 4096).count;
  }

  /** Lets the row look as if its socket had last named its peer so much earlier. */
  age(cookie: bigint, index: number, seconds: number): void {
    const row = this.row(cookie, index);
    if (row === undefined) throw new Error(`no row ${String(index)}`);
    const seen = (row.seen - seconds * this.config.hz) >>> 0;
    const key = encode(abi.slbSocketKey, { cookie, index });
    this.map('slb_sockets').put(key, encode(abi.slbSocket, { ...row, seen }));
  }

  exempt(cgroup: string, reason: number = abi.slbExemption.EXEMPT_POD): () => void {
    const key = new Uint8Array(BigUint64Array.of(BigInt(native().cgroupId(cgroup))).buffer);
    this.map('slb_exempt').put(key, u32(reason));
    return () => this.map('slb_exempt').delete(key);
  }
}

const flagNames = Object.entries(abi.slbSocketFlags);

function describe(row: abi.SlbSocketRow): Pointed {
  const flags = flagNames.filter(([, bit]) => (row.flags & bit) !== 0);
  return {
    frontend: end(formatAddress(row.frontend), row.frontendPort),
    backend: end(formatAddress(row.backendAddr), row.backendPort),
    client: end(formatAddress(row.client), row.clientPort),
    flags: flags.map(([name]) => name.replace('SOCKET_', '')).join(' '),
    service: row.service,
  };
}
