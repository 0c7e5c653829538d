// Replaces maps of an earlier agent that have another size or layout, in an order in which no packet sees a mix of
// both:
//
//   step                                                                    programs at devices
//   1. rows that only the agent writes are copied; new maps are pinned      old
//   2. a gate replaces the programs: it drops packets of services           old and gate
//   3. rows that packets write are copied: no program writes them           gate
//   4. the folder of the new maps is renamed: they are in use now           gate
//   5. new programs replace the gate                                        gate and new
//   6. the old maps are unpinned                                            new
//
// The gate is attached only if maps that packets write are replaced. Counters do not need it: they are copied before,
// and what was counted since is added later.
//
// With a gate there is never an old program at one device and a new one at another, so a reply always finds the flow of
// its request. TCP retransmits what is dropped in these milliseconds. If an agent dies in any step, the next one can
// start from there: up to step 4 the old maps are in use, and then the new ones, which are complete.
import { constants, getPriority, setPriority } from 'node:os';
import { native, type BpfMap, type BpfProgram } from '../../native/index.ts';
import type { MapName } from '../abi/layout.gen.ts';
import { messageOf, SluiceError } from '../errors.ts';
import { publish } from '../observe/channels.ts';
import { clsactFilter } from '../kernel/tcprograms.ts';
import { carryRows, writers, type Writer } from './carry.ts';
import { CounterCarry } from './counted.ts';
import { bringIntoForce, removeOtherFolders } from './folders.ts';
import type { Maps, Programs, SocketPrograms } from './objects.ts';
import { linkPath, type LinkPin } from './paths.ts';
import { listPins, replacePin } from './pins.ts';
import { socketHooks } from './cgroupattach.ts';

/** Rows of a map that could not be copied. */
export interface Loss {
  readonly map: MapName;
  readonly error: SluiceError;
}

export interface TakeOverOptions {
  readonly bpffs: string;
  readonly programs: Programs;
  readonly sockets: SocketPrograms | SluiceError;
  readonly maps: Maps;
  /** The maps to replace, by name. */
  readonly outdated: ReadonlyMap<MapName, BpfMap>;
  readonly objects: Readonly<Record<'gate', Uint8Array>>;
}

const gateXdp = Uint8Array.of(0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0); // r0 = XDP_PASS; exit
const xdpType = 6;
const xdpAttach = 37; // BPF_XDP: a link takes no program loaded for another
const flowMaps = ['slb_flows4', 'slb_flows6', 'slb_half4', 'slb_half6'] as const;

interface Gate {
  /** Programs that drop packets of services; only if maps that packets write are replaced. */
  readonly programs?: Programs;
  /** Adds to counters atomically. */
  readonly add: BpfProgram;
}

export class TakeOver {
  readonly #options: TakeOverOptions;
  readonly #losses: Loss[] = [];
  readonly #counters: { readonly map: MapName; readonly carry: CounterCarry }[] = [];
  #done = false;

  constructor(options: TakeOverOptions) {
    this.#options = options;
  }

  /**
   * Step 1. Rows of sockets are copied too, and again in step 3: if this agent dies after step 4, there is no other
   * copy.
   */
  carryTables(): readonly Loss[] {
    this.#carry('sockets');
    return this.#carry('agent');
  }

  /** Copies counters: before step 2, or earlier if no program counts yet. */
  carryCounters(): readonly Loss[] {
    const { outdated, maps } = this.#options;
    return [...outdated].flatMap(([map, old]) => {
      if (writers[map] !== 'counters') return [];
      const carry = new CounterCarry(old, maps[map]);
      this.#counters.push({ map, carry });
      return lossOf(
        map,
        attempt(() => carry.copy()),
      );
    });
  }

  /** Whether run() was called. */
  get done(): boolean {
    return this.#done;
  }

  /** Steps 2 to 6, once; `folder` is that of the new maps. */
  run(folder: string): readonly Loss[] {
    if (this.#done) return [];
    withPriority(() => Array.from(this.steps(folder)));
    return this.#losses;
  }

  /** The same as a generator that yields after each act, for tests in which the agent dies in between. */
  *steps(folder: string): Generator<string, void> {
    this.#done = true;
    const { bpffs, outdated, programs, sockets } = this.#options;
    const pins = listPins(bpffs);
    this.#losses.push(...this.carryCounters());
    const gate = this.#replaces('packets') || this.#counters.length > 0 ? this.#loadGate() : undefined;
    const { programs: held } = gate ?? {};
    if (held !== undefined) yield* replaceAt(bpffs, pins, (kind) => programOf(held, kind), false);
    this.#losses.push(...this.#carry('packets'));
    // Before a new program is attached: rows of sockets must be in the new maps by then.
    const known = new Set<string>();
    const note = (key: Uint8Array): boolean => known.add(textOf(key)).size > 0;
    this.#losses.push(...this.#carry('sockets', note));
    yield 'copied what packets and sockets write';
    if (outdated.size > 0) bringIntoForce(bpffs, folder);
    yield 'brought the new maps into force';
    if (outdated.size > 0) yield* replaceAt(bpffs, pins, (kind) => programOf(programs, kind), true);
    // Otherwise this process would keep the old flow maps in memory.
    if (held !== undefined) for (const program of [held.tcIn, held.xdpIn]) program.close();
    if (outdated.size > 0 && !(sockets instanceof SluiceError))
      yield* replaceAt(bpffs, pins, (kind) => socketProgramOf(sockets, kind), true);
    this.#followSockets(known);
    if (gate !== undefined) this.#followCounters(gate.add);
    removeOtherFolders(bpffs, folder);
    for (const map of outdated.values()) map.close();
    yield 'removed the old maps';
  }

  #replaces(writer: Writer): boolean {
    return [...this.#options.outdated.keys()].some((name) => writers[name] === writer);
  }

  #carry(writer: Writer, wanted?: (key: Uint8Array) => boolean): Loss[] {
    const { outdated, maps } = this.#options;
    return [...outdated].flatMap(([map, old]) => {
      if (writers[map] !== writer) return [];
      return lossOf(
        map,
        attempt(() => carryRows(old, maps[map], wanted)),
      );
    });
  }

  /** undefined when it cannot be loaded: then flows and counts of the next milliseconds may be lost. */
  #loadGate(): Gate | undefined {
    const { objects, maps, outdated } = this.#options;
    try {
      const object = native().openObject(objects.gate, 'sluice_gate');
      for (const name of object.maps().filter((one): one is MapName => one in maps)) {
        const old = flowMaps.some((flows) => flows === name) ? outdated.get(name) : undefined;
        const map = old ?? maps[name];
        object.setValueSize(name, map.info.valueSize);
        object.reuseMap(name, map);
      }
      const holds = this.#replaces('packets');
      object.setAutoload('slb_gate', holds);
      object.load();
      const add = object.program('slb_gate_add');
      const tc = holds ? object.program('slb_gate') : undefined;
      object.close();
      if (tc === undefined) return { add };
      const xdpIn = native().loadProgram({
        type: xdpType,
        expectedAttachType: xdpAttach,
        name: 'slb_gate_xdp',
        instructions: gateXdp,
      });
      return { add, programs: { tcIn: tc, tcOut: tc, xdpIn } };
    } catch (error) {
      publish('agent.fault', {
        error: new SluiceError('SLB_E_LOAD', `gate: ${messageOf(error)}`, { cause: error }),
      });
      return undefined;
    }
  }

  /** Adds what was counted between the copy and the replacement of programs. */
  #followCounters(program: BpfProgram): void {
    for (const { map, carry } of this.#counters.splice(0)) {
      attempt(() => {
        carry.follow((row, counters) => {
          program.testRun({ data: sumOf(map, row, counters) });
        });
        return { left: 0, reason: '' };
      });
    }
    program.close();
  }

  /** Copies or deletes rows of sockets that were opened or closed between the copy and the replacement of programs. */
  #followSockets(known: ReadonlySet<string>): void {
    const { outdated, maps } = this.#options;
    const old = outdated.get('slb_sockets');
    const fresh = maps.slb_sockets;
    if (old === undefined || old.info.keySize !== fresh.info.keySize) return;
    const still = new Set<string>();
    const isNew = (key: Uint8Array): boolean => {
      still.add(textOf(key));
      return !known.has(textOf(key));
    };
    attempt(() => carryRows(old, fresh, isNew));
    for (const key of known) if (!still.has(key)) fresh.delete(Uint8Array.from(Buffer.from(key, 'hex')));
  }
}

/**
 * Runs with the highest priority: packets are dropped until it ends, and on a busy node this process may have to wait.
 */
function withPriority(act: () => void): void {
  const usual = getPriority();
  try {
    setPriority(constants.priority.PRIORITY_HIGHEST);
  } catch {
    // Not permitted: goes on with the usual priority.
  }
  try {
    act();
  } finally {
    setPriority(usual);
  }
}

function lossOf(map: MapName, { left, reason }: { left: number; reason: string }): Loss[] {
  if (reason === '') return [];
  const detail = `${map}: ${left > 0 ? `${String(left)} rows` : 'rows'} of the pinned map were not copied: ${reason}`;
  return [{ map, error: new SluiceError(left > 0 ? 'SLB_E_MAP_FULL' : 'SLB_E_MAP_LAYOUT', detail) }];
}

/** struct gate_sum. */
function sumOf(map: MapName, row: number, counters: BigInt64Array): Uint8Array {
  const head = new Uint8Array(16);
  const where = Uint32Array.of(row, Number(map === 'slb_svc_stats'));
  return Buffer.concat([head, new Uint8Array(where.buffer), new Uint8Array(counters.buffer)]);
}

const textOf = (key: Uint8Array): string => Buffer.from(key).toString('hex');

/** Errors are returned as a reason: the replacement of programs has to be completed. */
function attempt(carry: () => { left: number; reason: string }): { left: number; reason: string } {
  try {
    return carry();
  } catch (error) {
    return { left: 0, reason: messageOf(error) };
  }
}

function programOf(programs: Programs, kind: LinkPin['kind']): BpfProgram | undefined {
  if (kind === 'tcx-in' || kind === 'clsact-in') return programs.tcIn;
  if (kind === 'tcx-out' || kind === 'clsact-out') return programs.tcOut;
  return kind === 'xdp-native' || kind === 'xdp-generic' ? programs.xdpIn : undefined;
}

function socketProgramOf(programs: SocketPrograms, kind: LinkPin['kind']): BpfProgram | undefined {
  const hook = socketHooks.find((one) => one === kind);
  return hook === undefined ? undefined : programs[hook];
}

/** Replaces programs at all links and filters that are still attached. `stay`: pins of filters are replaced too. */
function* replaceAt(
  bpffs: string,
  pins: readonly LinkPin[],
  choose: (kind: LinkPin['kind']) => BpfProgram | undefined,
  stay: boolean,
): Generator<string, void> {
  for (const pin of pins) {
    const program = choose(pin.kind);
    if (program === undefined) continue;
    try {
      if (pin.kind.startsWith('clsact')) replaceFilter(bpffs, pin, program, stay);
      else updateLink(linkPath(bpffs, pin), program);
    } catch (error) {
      // The device was removed, or the next reconcile() attaches the program.
      publish('device.failed', { device: `${pin.kind}-${String(pin.target)}`, error });
    }
    yield `replaced the program at ${pin.kind}-${String(pin.target)}`;
  }
}

function replaceFilter(bpffs: string, pin: LinkPin, program: BpfProgram, stay: boolean): void {
  const { priority, handle } = clsactFilter;
  const direction = pin.kind === 'clsact-in' ? 'ingress' : 'egress';
  if (native().queryClsact(pin.target, direction, priority, handle) === 0) return;
  native().attachClsact(program, pin.target, direction, priority, handle);
  if (stay) replacePin(bpffs, pin, program);
}

function updateLink(path: string, program: BpfProgram): void {
  const link = native().openPinnedLink(path);
  try {
    if (link.target !== 0) link.update(program);
  } finally {
    link.close();
  }
}
