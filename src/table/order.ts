// The order of the operations of a transaction. At no time does a packet find a frontend without its backends, or a row
// that names another one that is not written yet. Each phase is written before the next begins.
import type { Ops } from './rows.ts';

export const phases = [
  'dropFrontends', // no packet finds these services any more
  'devices', // sources of masqueraded packets, before there are any
  'clearServiceStats', // new ids in used slots start from 0
  'clearBackendStats',
  'backends',
  'slots', // name backends
  'tables', // name positions in slots
  'sets', // name slots and tables; no service row names these sets yet
  'ranges', // before the service flags that make packets look them up
  'services', // one aligned word of each row names the new set: the change is atomic
  'moveFrontends', // from one service to another that is ready
  'leftServices', // kept what those frontends needed until then
  'frontends', // name services
  'dropRanges', // no service flag asks for them any more
  'dropDevices',
  'freeServices', // no frontend names these rows
  'freeBackends', // no set that a service row names has these
] as const satisfies readonly (keyof Ops)[];

export type Phase = (typeof phases)[number];
