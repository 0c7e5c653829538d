// How the packets of a connection are to go on.
import type { Client, Policy } from './choose.ts';
import type { Side, Way } from './connections.ts';
import type { Tuple } from './read.ts';
import type { Backend } from './world.ts';

/** The routing table: a device, this host, or no way. */
export type Route = { readonly ifindex: number; readonly mtu: number } | 'here' | 'nowhere';

export interface Plan {
  readonly sent: Tuple;
  readonly way: Way;
  readonly replyWay: Way;
  readonly replyAt: Side;
}

export interface OwnWay {
  readonly kept: Tuple;
  readonly itself: boolean;
  readonly hairpin: Plan;
  readonly plain: Plan;
  readonly route: Route;
  readonly unroutable: boolean;
}

/** What only the program can know: the source port that it chose, when the client's own was taken. */
export type Chosen = () => number;

export interface Decided {
  readonly service: number;
  readonly backend: Backend;
  readonly policy: Policy;
  readonly client: Client;
  readonly chosen: Chosen;
}
