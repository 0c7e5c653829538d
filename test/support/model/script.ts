// Random services, and what random clients, backends and routers send: few names and numbers, so that they meet.
import fc from 'fast-check';
import { ownMac } from '../kernel/rows.ts';
import { bothFamilies, type Addresses } from '../packet/addresses.ts';
import { endpoint, meta, service, slice } from '../kube/objects.ts';
import type { Described } from './control.ts';

export const nodeName = 'node-a';
export const serviceNames = ['a', 'b', 'c'] as const;
/** Two of them may be NodePorts. */
export const sports = [40000, 40001, 40002, 30080, 30081] as const;
export const clusterAddress = (who: Addresses, index: number): string =>
  `${who.family === 4 ? '10.96.0.' : 'fd96::'}${String(index + 1)}`;
export const nodePortOf = (index: number): number => 30080 + index;
const protocols = ['TCP', 'UDP', 'SCTP'] as const;

/** Where no way leads, and where a narrow one does: see node.ts. */
export const lost = { 4: '10.3.0.1', 6: 'fd03::1' } as const;
export const narrow = { 4: '10.4.0.1', 6: 'fd04::1' } as const;

const endpointsOf = (who: Addresses): readonly string[] => [
  ...[who.one, who.two, who.far, who.node, lost[who.family], narrow[who.family]],
];
const rangesOf = (who: Addresses): readonly string[] =>
  who.family === 4
    ? ['10.0.0.1/32', '10.0.0.0/24', '10.1.0.0/16', '0.0.0.0/1']
    : ['fd00::1/128', 'fd00::/64', 'fd01::/64', '::/1'];

const state = fc.constantFrom(
  { ready: true, serving: true, terminating: false },
  { ready: true, serving: true, terminating: false },
  { ready: false, serving: true, terminating: true },
  { ready: false, serving: false, terminating: false },
);
const policy = fc.constantFrom('Cluster' as const, 'Local' as const);

function endpoints(who: Addresses) {
  const one = fc.record({ address: fc.constantFrom(...endpointsOf(who)), state, local: fc.boolean() });
  return fc.uniqueArray(one, { maxLength: 5, selector: ({ address }) => address });
}

/** A service of both families, on one port number for all protocols. */
export function described(index: number): fc.Arbitrary<Described> {
  const name = serviceNames[index] ?? 'a';
  const lists = fc.tuple(...bothFamilies.map(endpoints));
  const all = bothFamilies.flatMap((who) => [who.external, who.balancer, who.node]);
  return fc
    .record({
      type: fc.constantFrom('ClusterIP' as const, 'NodePort' as const, 'LoadBalancer' as const),
      external: fc.subarray(all),
      balancers: fc.subarray(bothFamilies.map((who) => who.balancer)),
      ranges: fc.oneof(fc.constant([]), fc.subarray(bothFamilies.flatMap(rangesOf))),
      denied: fc.oneof(fc.constant([]), fc.constant([]), fc.subarray(bothFamilies.flatMap(rangesOf))),
      internalTrafficPolicy: policy,
      externalTrafficPolicy: policy,
      affinitySec: fc.constantFrom(0, 0, 600),
      lists,
    })
    .map(({ lists: families, type, external, balancers, ranges, denied, ...more }) => ({
      service: service(
        name,
        bothFamilies.map((who) => clusterAddress(who, index)),
        {
          ...more,
          type,
          externalIPs: external,
          loadBalancerIPs: type === 'LoadBalancer' ? balancers : [],
          loadBalancerSourceRanges: ranges,
          deniedSourceRanges: denied,
          ports: protocols.map((protocol) => ({
            name: protocol.toLowerCase(),
            protocol,
            port: 80 + (index % 2), // two of the three share a port number, and so may meet at an external address
            nodePort: type === 'ClusterIP' ? 0 : nodePortOf(index),
          })),
        },
      ),
      slices: bothFamilies.flatMap((who, family) => {
        const members = (families[family] ?? []).map(({ address, state: how, local }) =>
          endpoint(address, { ...how, nodeName: local ? nodeName : 'node-b' }),
        );
        if (members.length === 0) return [];
        const ports = protocols.map((protocol) => ({ name: protocol.toLowerCase(), protocol, port: 8080 }));
        return [
          slice(`${name}-${String(who.family)}`, name, members, {
            meta: meta(`${name}-${String(who.family)}`),
            ports,
          }),
        ];
      }),
    }));
}

export type Place = 'pod' | 'uplink' | 'xdp' | 'own' | 'lo' | 'passing';
export const places: readonly Place[] = ['pod', 'uplink', 'xdp', 'own', 'lo', 'passing'];

/** What is done to a finished packet. */
export interface Dressing {
  readonly tags: number; // VLAN tags in the frame
  readonly headers: number; // IPv4 options, IPv6 extension headers
  readonly life: number;
  readonly body: number;
  /** Cut so many bytes off its end. */
  readonly cut: number;
  /** A byte of the headers, of which a bit is turned: [offset, bit]. Addresses are spared. */
  readonly flip: readonly [number, number] | undefined;
  readonly fragment: 'whole' | 'first' | 'later';
  readonly dontFragment: boolean; // IPv4
  readonly mac: string; // to which the frame goes
}

export type Step =
  | {
      readonly do: 'dial';
      readonly family: 0 | 1;
      readonly client: number;
      readonly to: number;
      readonly dport: number;
      readonly sport: number;
      /** At a frontend that there is; else at whatever the numbers say. */
      readonly aimed: boolean;
    }
  | { readonly do: 'again'; readonly connection: number }
  | { readonly do: 'reply'; readonly connection: number }
  | {
      readonly do: 'error';
      readonly connection: number;
      readonly about: 'request' | 'reply';
      readonly from: number;
      readonly quote: number;
    }
  | { readonly do: 'age'; readonly seconds: number }
  | { readonly do: 'edit'; readonly index: number; readonly to: Described | undefined };

export interface Sent {
  readonly step: Step;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly flags: string;
  /** Sequence number and acknowledgment: what the other end expects, the edges of what it believes, or anything. */
  readonly proof: 'right' | 'last' | 'beyond' | 'stray';
  readonly nonce: number;
  readonly place: Place;
  /** Whether the packet is seen where it belongs: most are, or little would ever be answered. */
  readonly astray: boolean;
  readonly dressing: Dressing;
}

const flags = fc.constantFrom('S', 'S', 'A', 'A', 'PA', 'FA', 'R', 'RA', 'SA', 'SF');
const rarely = <T>(value: fc.Arbitrary<T>, usual: T): fc.Arbitrary<T> =>
  fc.oneof({ weight: 7, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: value });

/** Payloads of packets about as large as the two ways of node.ts carry, with headers of 28, 40, 48 or 60 bytes. */
const bodies = [
  ...[0, 1, 40, 0, 1, 40, 0, 1, 40, 0, 1, 40],
  ...[1280, 1500].flatMap((mtu) => [28, 40, 48, 60].flatMap((header) => [mtu - header, mtu - header + 1])),
];

const dressing: fc.Arbitrary<Dressing> = fc.record({
  tags: rarely(fc.integer({ min: 1, max: 3 }), 0),
  headers: rarely(fc.integer({ min: 1, max: 3 }), 0),
  life: rarely(fc.constantFrom(0, 1, 2), 64),
  body: fc.constantFrom(...bodies),
  cut: rarely(fc.integer({ min: 1, max: 60 }), 0),
  flip: rarely(fc.tuple(fc.nat(80), fc.nat(7)), undefined),
  fragment: rarely(fc.constantFrom('first' as const, 'later' as const), 'whole' as const),
  dontFragment: fc.boolean(),
  mac: rarely(fc.constantFrom('02:00:00:00:00:0d', 'ff:ff:ff:ff:ff:ff', '33:33:00:00:00:01'), ownMac),
});

const connection = fc.nat(7);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('dial' as const),
      family: fc.constantFrom(0 as const, 1 as const),
      client: fc.nat(5),
      to: fc.nat(10),
      dport: fc.nat(5),
      sport: fc.nat(4),
      aimed: fc.constantFrom(true, true, true, true, false),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('again' as const), connection }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('reply' as const), connection }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('error' as const),
      connection,
      about: fc.constantFrom('request' as const, 'reply' as const),
      from: fc.nat(1),
      quote: fc.constantFrom(8, 20, 60),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('age' as const),
      seconds: fc.constantFrom(1, 5, 12, 40, 70, 200, 700),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.nat(serviceNames.length - 1).chain((index) =>
      fc.record({
        do: fc.constant('edit' as const),
        index: fc.constant(index),
        to: fc.oneof(
          { weight: 4, arbitrary: described(index) },
          { weight: 1, arbitrary: fc.constant(undefined) },
        ),
      }),
    ),
  },
);

export const script: fc.Arbitrary<readonly Sent[]> = fc.array(
  fc.record({
    step,
    protocol: fc.constantFrom(
      'tcp' as const,
      'tcp' as const,
      'udp' as const,
      'udp' as const,
      'sctp' as const,
    ),
    flags,
    proof: fc.constantFrom(
      'right' as const,
      'right' as const,
      'right' as const,
      'last' as const,
      'beyond' as const,
      'stray' as const,
    ),
    nonce: fc.nat(0xffffffff),
    place: fc.constantFrom(...places),
    astray: rarely(fc.constant(true), false),
    dressing,
  }),
  { minLength: 1, maxLength: 40 },
);

export const beginning = fc.tuple(...serviceNames.map((_, index) => described(index)));
