// How many rows each map gets, from the few numbers an operator chooses.
import { slbLimits, type MapName } from '../abi/layout.gen.ts';

export interface Limits {
  readonly services: number; // service ports
  readonly backends: number;
  readonly flows: number; // established, a family
  readonly halfOpenFlows: number; // a family
  readonly sockets: number;
}

const frontendsPerService = 6; // cluster, load balancer and one more address, with their address rows; a NodePort
const setsPerService = 4; // of each list, the one it has and the one it has just left
const slotsPerBackend = 3; // in both lists, and in one that its service has just left
const rangesPerService = 8; // few have any, and those have some dozens
// A backend has 100 … 200 positions, but the ports of a Service share them; where this is too little after all, tables
// get smaller, not fewer.
const positionsPerBackend = 128;

export function mapSizes(limits: Limits): Readonly<Partial<Record<MapName, number>>> {
  return {
    slb_frontends: limits.services * frontendsPerService,
    slb_services: limits.services,
    slb_svc_stats: limits.services,
    slb_ranges: limits.services * rangesPerService,
    slb_sets: limits.services * setsPerService,
    slb_backends: limits.backends,
    slb_be_stats: limits.backends,
    slb_slots: limits.backends * slotsPerBackend,
    slb_maglev: Math.ceil((limits.backends * positionsPerBackend) / slbLimits.MAGLEV_PER_ROW),
    slb_flows4: limits.flows,
    slb_flows6: limits.flows,
    slb_half4: limits.halfOpenFlows,
    slb_half6: limits.halfOpenFlows,
    slb_sockets: limits.sockets,
  };
}
