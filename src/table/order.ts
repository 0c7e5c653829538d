// In which order the operations of a transaction are safe: at no moment does a packet meet a frontend without its backends,
// or a row that points at something not yet written. Each phase is in the kernel before the next begins.
import type { Ops } from './rows.ts';

export const phases = [
  'dropFrontends', // no packet finds these services any more
  'devices', // from where to send, before anything is
  'clearServiceStats', // new tenants of old slots start from 0
  'clearBackendStats',
  'backends',
  'slots', // name backends
  'tables', // name positions in slots
  'sets', // name slots and tables; no service row names these sets yet
  'ranges', // before the flags that make services ask for them
  'services', // one word of each row switches to its new set
  'moveFrontends', // from one service to another that is ready
  'leftServices', // kept what those frontends needed until now
  'frontends', // name services
  'dropRanges', // no service asks for them any more
  'dropDevices',
  'freeServices', // no frontend names these rows
  'freeBackends', // no set that a service row names has these
] as const satisfies readonly (keyof Ops)[];

export type Phase = (typeof phases)[number];
