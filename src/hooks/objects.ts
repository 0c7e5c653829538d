// Programs and maps of the loaded BPF objects.
import type { BpfMap, BpfProgram } from '../../native/index.ts';
import type { MapName } from '../abi/layout.gen.ts';
import type { SocketHook } from './cgroupattach.ts';

export interface Programs {
  readonly tcIn: BpfProgram;
  readonly tcOut: BpfProgram;
  readonly xdpIn: BpfProgram;
}

export type SocketPrograms = Readonly<Record<SocketHook, BpfProgram>>;

export type Maps = Readonly<Record<MapName, BpfMap>>;
