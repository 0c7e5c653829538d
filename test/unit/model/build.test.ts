// The model room: addresses, endpoints, topology, and the service ports built from them. Rules of the Kubernetes
// service semantics are named S-n.
import t from 'tap';
import fc from 'fast-check';
import { isIPv4, isIPv6 } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { buildServicePorts } from '../../../src/model/build.ts';
import { canonicalCidr, cidrContains } from '../../../src/net/cidr.ts';
import { healthChecksOf, noLocalEndpoints } from '../../../src/model/health.ts';
import { canonicalAddress, familyOf, formatAddress, parseAddress } from '../../../src/net/ip.ts';
import type { EndpointObject, EndpointSliceObject, ServiceObject } from '../../../src/source/objects.ts';
import { endpoint, meta, service, slice } from '../../support/kube/objects.ts';
import { holds } from '../../support/run/property.ts';

const here = { name: 'node-a', zone: 'west', addresses: ['192.0.2.1', '2001:db8::1'] };
const web = service('web', ['10.96.0.1']);

function selected(
  slices: readonly EndpointSliceObject[],
  object: ServiceObject = web,
  node = here,
): string[] {
  return buildServicePorts(object, slices, node).flatMap((port) =>
    port.clusterEndpoints.map((one) => `${one.address}:${one.port}`),
  );
}

const notReady = { ready: false, serving: false };
const leaving = { ready: false, serving: true, terminating: true };
const gone = { ready: false, serving: false, terminating: true };

t.test('IPv4 with leading zeros is decimal, mapped IPv6 is IPv4 (S-15)', async (t) => {
  const cases: Readonly<Record<string, string | undefined>> = {
    '10.0.0.1': '10.0.0.1',
    '010.001.002.003': '10.1.2.3',
    '255.255.255.255': '255.255.255.255',
    '::ffff:10.0.0.1': '10.0.0.1',
    '0:0:0:0:0:FFFF:0a00:0001': '10.0.0.1',
    '2001:DB8::1': '2001:db8::1',
    '2001:db8:0:0:1:0:0:1': '2001:db8::1:0:0:1',
    '2001:db8:0:1:1:1:1:1': '2001:db8:0:1:1:1:1:1',
    '1:2:3:4:5:6:7::': '1:2:3:4:5:6:7:0',
    '::': '::',
    '::1': '::1',
    '64:ff9b::192.0.2.33': '64:ff9b::c000:221',
    '256.0.0.1': undefined,
    '1.2.3': undefined,
    '1.2.3.4.5': undefined,
    '1..2.3': undefined,
    '0x7f.0.0.1': undefined,
    ' 10.0.0.1': undefined,
    '': undefined,
    ':': undefined,
    ':::': undefined,
    '1::2::3': undefined,
    '1:2:3:4:5:6:7': undefined,
    '1:2:3:4:5:6:7:8:9': undefined,
    '1:2:3:4:5:6:7:8::': undefined,
    '1:': undefined,
    ':1': undefined,
    '12345::': undefined,
    'fe80::1%eth0': undefined,
    '::1.2.3': undefined,
    '1:2:3:4:5:6:7:1.2.3.4': undefined,
  };
  for (const [text, canonical] of Object.entries(cases))
    t.equal(canonicalAddress(text), canonical, JSON.stringify(text));
});

t.test('every address that Node accepts is parsed the same, and survives conversion to bytes', async (t) => {
  holds(
    t,
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()), (text) => {
      const known = (isIPv4(text) || isIPv6(text)) && !text.includes('%');
      const bytes = parseAddress(text);
      if (bytes === undefined) return !known;
      const canonical = formatAddress(bytes);
      return (
        (known || /(^|[.:])0\d/.test(text)) &&
        (familyOf(canonical) === 4 ? isIPv4(canonical) : isIPv6(canonical)) &&
        Buffer.compare(parseAddress(canonical)!, bytes) === 0
      );
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

t.test('one Service port for each port and family (S-8, S-9)', async (t) => {
  const ports = [
    { name: 'dns', protocol: 'UDP' as const, port: 53, nodePort: 0 },
    { name: 'dns-tcp', protocol: 'TCP' as const, port: 53, nodePort: 0 },
  ];
  const dual = service('dns', ['fd00::a', '10.96.0.10'], { ports });
  const built = buildServicePorts(dual, [], here);
  t.same(
    built.map((port) => [port.key, port.frontends[0]?.address]),
    [
      ['default/dns:dns/UDP/IPv4', '10.96.0.10'],
      ['default/dns:dns-tcp/TCP/IPv4', '10.96.0.10'],
      ['default/dns:dns/UDP/IPv6', 'fd00::a'],
      ['default/dns:dns-tcp/TCP/IPv6', 'fd00::a'],
    ],
  );
  t.same(
    buildServicePorts(service('old', ['010.096.000.001'], { ipFamilies: [] }), [], here)[0]?.frontends,
    [{ kind: 'ClusterIP', address: '10.96.0.1', port: 80 }],
    'families of old objects follow from the address, which is decimal (S-15)',
  );
  const twins = service('twins', ['10.96.0.1'], { ports: [web.ports[0]!, { ...web.ports[0]!, port: 81 }] });
  t.equal(buildServicePorts(twins, [], here).length, 1, 'names are unique');
});

t.test('what is not proxied (S-2, S-3, S-4)', async (t) => {
  const label = (name: string, value: string) => meta('web', { [`service.kubernetes.io/${name}`]: value });
  const slices = [slice('s', 'web', ['10.0.0.1'])];
  const cases: Readonly<Record<string, ServiceObject | undefined>> = {
    'no Service': undefined,
    headless: service('web', ['None']),
    'no address': service('web', []),
    ExternalName: service('web', ['10.96.0.1'], { type: 'ExternalName' }),
    'another proxy': service('web', ['10.96.0.1'], { meta: label('service-proxy-name', 'other') }),
    'another proxy without a name': service('web', ['10.96.0.1'], { meta: label('service-proxy-name', '') }),
    'headless by label': service('web', ['10.96.0.1'], { meta: label('headless', '') }),
  };
  for (const [what, object] of Object.entries(cases))
    t.same(buildServicePorts(object, slices, here), [], what);
  t.same(selected([{ ...slices[0]!, meta: label('headless', '') }]), [], 'slices are labelled alike');
});

t.test('ports of slices match by name and protocol, with numbers of their own (S-24)', async (t) => {
  const named = service('web', ['10.96.0.1'], {
    ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 0 }],
  });
  const port = (name: string, number: number, protocol: 'TCP' | 'UDP' = 'TCP') => ({
    name,
    port: number,
    protocol,
  });
  const slices = [
    slice('a', 'web', ['10.0.0.1'], { ports: [port('http', 8080)] }),
    slice('b', 'web', ['10.0.0.2'], { ports: [port('http', 9090)] }),
    slice('c', 'web', ['10.0.0.3'], {
      ports: [port('http', 8080, 'UDP'), port('other', 8080), port('', 8080)],
    }),
  ];
  t.same(selected(slices, named), ['10.0.0.1:8080', '10.0.0.2:9090']);
});

t.test('families never mix, FQDN slices are ignored (S-22), the first address counts (S-25)', async (t) => {
  const dual = service('web', ['10.96.0.1', 'fd00::1']);
  const slices = [
    slice('a', 'web', [endpoint('10.0.0.1', { addresses: ['10.0.0.1', '10.0.0.9'] })]),
    slice('b', 'web', ['fd00::2']),
    slice('c', 'web', [endpoint('example.org')], { addressType: 'FQDN' }),
    slice('d', 'web', [endpoint('nonsense'), endpoint('', { addresses: [] })], { addressType: 'IPv4' }),
  ];
  t.same(selected(slices, dual), ['10.0.0.1:8080', 'fd00::2:8080']);
});

t.test('one endpoint in two slices: the ready one counts, once, in any order (S-28)', async (t) => {
  const dying = slice('a', 'web', [endpoint('10.0.0.1', leaving)]);
  const live = slice('b', 'web', ['10.0.0.1']);
  for (const slices of [
    [dying, live],
    [live, dying],
  ]) {
    const [port] = buildServicePorts(web, slices, here);
    t.match(port?.endpoints, [{ address: '10.0.0.1', ready: true, terminating: false }]);
    t.equal(port?.endpoints.length, 1);
  }
});

const nodeNames = [undefined, 'node-a', 'node-b', 'node-c'];

t.test('one endpoint on two nodes: local if one of them is this node (S-27, S-28)', async (t) => {
  for (const [one, other, local] of [
    ['node-a', 'node-b', true],
    ['node-b', 'node-c', false],
    ['node-a', undefined, true],
  ] as const) {
    const placed = [one, other].map((nodeName) => endpoint('10.0.0.1', { nodeName }));
    const [first, second] = placed as [EndpointObject, EndpointObject];
    for (const slices of [
      [slice('a', 'web', [first]), slice('b', 'web', [second])],
      [slice('a', 'web', [second]), slice('b', 'web', [first])],
      [slice('a', 'web', [first, second])],
      [slice('a', 'web', [second, first])],
    ]) {
      t.match(
        buildServicePorts(web, slices, here)[0]?.endpoints,
        [{ local }],
        `${one} and ${other ?? 'none'}`,
      );
    }
  }
});

t.test('endpoints given several times: the same answer whatever slices are called (S-28)', async (t) => {
  const flag = fc.boolean();
  const hints = fc.subarray(['west', 'east']);
  const given = fc.record({
    addresses: fc.constantFrom(['10.0.0.1'], ['10.0.0.2'], ['010.0.0.1', '10.0.0.9']),
    ready: flag,
    serving: flag,
    terminating: flag,
    nodeName: fc.constantFrom(...nodeNames),
    zoneHints: hints,
    nodeHints: fc.subarray(['node-a', 'node-b']),
  });
  const policy = fc.constantFrom('Cluster' as const, 'Local' as const);
  const many = fc
    .array(given, { minLength: 2, maxLength: 8 })
    .chain((all) =>
      fc.tuple(
        fc.constant(all),
        fc.shuffledSubarray(all, { minLength: all.length }),
        fc.integer({ min: 1, max: 4 }),
      ),
    );
  const sliced = (all: readonly EndpointObject[], size: number): EndpointSliceObject[] =>
    all.flatMap((_, index) =>
      index % size === 0 ? [slice(`s${index}`, 'web', all.slice(index, index + size))] : [],
    );
  holds(
    t,
    fc.property(many, policy, ([all, shuffled, size], internalTrafficPolicy) => {
      const object = service('web', ['10.96.0.1'], { internalTrafficPolicy });
      const rows = [sliced(shuffled, size), sliced(all, 3)].map((slices) =>
        buildServicePorts(object, slices, here),
      );
      return isDeepStrictEqual(rows[0], rows[1]);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

t.test('which endpoints may receive (S-34, S-36, S-44)', async (t) => {
  const cases: readonly [string, readonly EndpointObject[], string[], boolean][] = [
    ['ready ones', [endpoint('10.0.0.1'), endpoint('10.0.0.2', leaving)], ['10.0.0.1:8080'], true],
    [
      'else those that serve while they leave',
      [endpoint('10.0.0.1', leaving), endpoint('10.0.0.2', gone)],
      ['10.0.0.1:8080'],
      true,
    ],
    ['unready is nothing', [endpoint('10.0.0.1', notReady), endpoint('10.0.0.2', gone)], [], false],
    [
      'ready while it leaves, because the Service publishes unready ones (S-26)',
      [endpoint('10.0.0.1', { terminating: true })],
      ['10.0.0.1:8080'],
      true,
    ],
    ['no endpoint', [], [], false],
  ];
  for (const [what, endpoints, expected, any] of cases) {
    const slices = [slice('a', 'web', endpoints, { addressType: 'IPv4' })];
    t.same(selected(slices), expected, what);
    t.equal(buildServicePorts(web, slices, here)[0]?.anyEndpoint, any, what);
  }
});

t.test('every kind of frontend, in its family (S-9, S-16, S-17, S-53, S-59, S-62)', async (t) => {
  const ports = [
    { name: 'http', protocol: 'TCP' as const, port: 80, nodePort: 30080 },
    { name: 'dns', protocol: 'UDP' as const, port: 53, nodePort: 0 },
  ];
  const everything: Partial<ServiceObject> = {
    type: 'LoadBalancer',
    ports,
    externalIPs: ['198.51.100.7', '2001:DB8::7', '198.51.100.007', '0.0.0.0', 'nonsense', '203.0.113.1'],
    loadBalancerIPs: ['203.0.113.1', '2001:db8:1::1', '::'],
  };
  const frontends = (object: ServiceObject) =>
    buildServicePorts(object, [], here).map(({ key, frontends: list }) => [
      key.slice(key.indexOf(':') + 1),
      ...list.map(({ kind, address, port }) => `${kind} ${address} ${port}`),
    ]);
  const four = [
    ['http/TCP/IPv4', 'ClusterIP 10.96.0.1 80', 'ExternalIP 198.51.100.7 80'],
    ['dns/UDP/IPv4', 'ClusterIP 10.96.0.1 53', 'ExternalIP 198.51.100.7 53'],
  ];
  four[0]!.push('LoadBalancer 203.0.113.1 80', 'NodePort 0.0.0.0 30080');
  four[1]!.push('LoadBalancer 203.0.113.1 53');
  t.same(
    frontends(service('web', ['10.96.0.1'], everything)),
    four,
    'an address that is both keeps the stricter rules; the unspecified one is none; no IPv6 of a Service of one family',
  );
  t.same(frontends(service('web', ['fd00::1', '10.96.0.1'], everything)), [
    ...four,
    [
      'http/TCP/IPv6',
      'ClusterIP fd00::1 80',
      'ExternalIP 2001:db8::7 80',
      'LoadBalancer 2001:db8:1::1 80',
    ].concat('NodePort :: 30080'),
    ['dns/UDP/IPv6', 'ClusterIP fd00::1 53', 'ExternalIP 2001:db8::7 53', 'LoadBalancer 2001:db8:1::1 53'],
  ]);
});

t.test('externalTrafficPolicy applies to frontends that outside clients can reach (S-11)', async (t) => {
  const cases: readonly [string, Partial<ServiceObject>, boolean][] = [
    ['ClusterIP alone', {}, false],
    ['ClusterIP with externalIPs', { externalIPs: ['198.51.100.7'] }, true],
    ['NodePort', { type: 'NodePort' }, true],
    ['LoadBalancer that has no address yet', { type: 'LoadBalancer' }, true],
  ];
  for (const [what, more, honoured] of cases) {
    const object = service('web', ['10.96.0.1'], { externalTrafficPolicy: 'Local', ...more });
    t.equal(buildServicePorts(object, [], here)[0]?.externalLocal, honoured, what);
  }
});

/** What can be there, as the table of expected results has it: by row, who answers by the last part of its address. */
const near = { nodeName: 'node-a' };
const far = { nodeName: 'node-b' };
const unready = { ready: false, serving: false };
const situations: readonly [
  string,
  readonly EndpointObject[],
  cluster: number[],
  local: number[],
  any: boolean,
][] = [
  ['local and remote ready', [endpoint('10.0.0.1', near), endpoint('10.0.0.2', far)], [1, 2], [1], true],
  ['only remote ready', [endpoint('10.0.0.2', far)], [2], [], true],
  ['without a node (S-27)', [endpoint('10.0.0.3')], [3], [], true],
  ['the name of this node in capitals (S-27)', [endpoint('10.0.0.3', { nodeName: 'Node-A' })], [3], [], true],
  [
    'remote ready, local leaving',
    [endpoint('10.0.0.1', { ...near, ...leaving }), endpoint('10.0.0.2', far)],
    [2],
    [1],
    true,
  ],
  ['only local leaving', [endpoint('10.0.0.1', { ...near, ...leaving })], [1], [1], true],
  ['only remote leaving', [endpoint('10.0.0.2', { ...far, ...leaving })], [2], [], true],
  [
    'leaving everywhere',
    [endpoint('10.0.0.1', { ...near, ...leaving }), endpoint('10.0.0.2', { ...far, ...leaving })],
    [1, 2],
    [1],
    true,
  ],
  [
    'only unready',
    [endpoint('10.0.0.1', { ...near, ...unready }), endpoint('10.0.0.2', gone)],
    [],
    [],
    false,
  ],
  ['none', [], [], [], false],
];

const exposures: readonly [string, Partial<ServiceObject>][] = [
  ['ClusterIP only', {}],
  ['nodePort', { type: 'NodePort', ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: 30080 }] }],
  ['externalIP', { externalIPs: ['198.51.100.7'] }],
  ['VIP', { type: 'LoadBalancer', loadBalancerIPs: ['203.0.113.1'] }],
  ['VIP of the other family', { type: 'LoadBalancer', loadBalancerIPs: ['2001:db8::1'] }],
];
const policies = ['Cluster', 'Local'] as const;

t.test('which lists of endpoints a port has (S-10, S-12, S-34 … S-36, S-39, S-40, S-43, S-50)', async (t) => {
  for (const [exposure, more] of exposures)
    for (const internalTrafficPolicy of policies)
      for (const externalTrafficPolicy of policies)
        for (const [situation, endpoints, cluster, local, any] of situations) {
          const object = service('web', ['10.96.0.1'], {
            internalTrafficPolicy,
            externalTrafficPolicy,
            ...more,
          });
          const slices = [slice('a', 'web', endpoints, { addressType: 'IPv4' })];
          const [port] = buildServicePorts(object, slices, here);
          const last = (list: readonly { address: string }[] = []) =>
            list.map((one) => Number(one.address.slice(7)));
          const external = !['ClusterIP only', 'VIP of the other family'].includes(exposure);
          const keepsIn = internalTrafficPolicy === 'Local';
          const keepsOut = externalTrafficPolicy === 'Local' && external;
          const dry = any && local.length === 0;
          t.same(
            {
              cluster: last(port?.clusterEndpoints),
              local: last(port?.localEndpoints),
              any: port?.anyEndpoint,
              dropped: noLocalEndpoints(port!),
            },
            {
              cluster: !keepsIn || external ? cluster : [],
              local: keepsIn || keepsOut ? local : [],
              any,
              dropped: { internal: keepsIn && dry, external: keepsOut && dry },
            },
            `${exposure}, internal ${internalTrafficPolicy}, external ${externalTrafficPolicy}, ${situation}`,
          );
        }
});

const someEndpoint = fc.record({
  address: fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'),
  ready: fc.boolean(),
  serving: fc.boolean(),
  terminating: fc.boolean(),
  nodeName: fc.constantFrom(undefined, 'node-a', 'node-b'),
  zoneHints: fc.subarray(['west', 'east']),
  nodeHints: fc.subarray(['node-a', 'node-b']),
});

t.test('invariants of the lists, whatever the endpoints', async (t) => {
  const lists = fc.record({
    endpoints: fc.array(someEndpoint, { maxLength: 8 }),
    internalTrafficPolicy: fc.constantFrom(...policies),
    externalTrafficPolicy: fc.constantFrom(...policies),
    hinted: fc.boolean(),
  });
  holds(
    t,
    fc.property(lists, ({ endpoints, internalTrafficPolicy, externalTrafficPolicy, hinted }) => {
      const object = service('web', ['10.96.0.1'], {
        type: 'LoadBalancer',
        loadBalancerIPs: ['203.0.113.1'],
        internalTrafficPolicy,
        externalTrafficPolicy,
      });
      const list = endpoints.map(({ address, ...rest }) =>
        endpoint(address, hinted ? rest : { ...rest, zoneHints: [], nodeHints: [] }),
      );
      const port = buildServicePorts(object, [slice('a', 'web', list, { addressType: 'IPv4' })], here)[0]!;
      const { clusterEndpoints, localEndpoints, anyEndpoint } = port;
      const pure = (chosen: typeof clusterEndpoints): boolean =>
        chosen.every(({ ready }) => ready) ||
        chosen.every(({ ready, serving, terminating }) => !ready && serving && terminating);
      const localReady = localEndpoints.some(({ ready }) => ready);
      return (
        anyEndpoint === clusterEndpoints.length > 0 &&
        pure(clusterEndpoints) &&
        pure(localEndpoints) &&
        localEndpoints.every(({ local }) => local) &&
        (hinted || !localReady || localEndpoints.every((one) => clusterEndpoints.includes(one))) &&
        [...clusterEndpoints, ...localEndpoints].every((one) => port.endpoints.includes(one))
      );
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

t.test('ranges: one spelling, host bits masked, decimal (S-15)', async (t) => {
  const cases: Readonly<Record<string, string | undefined>> = {
    '10.1.2.3/8': '10.0.0.0/8',
    ' 010.001.0.0/16 ': '10.1.0.0/16',
    '0.0.0.0/0': '0.0.0.0/0',
    '192.0.2.255/31': '192.0.2.254/31',
    '192.0.2.1/32': '192.0.2.1/32',
    '2001:DB8:FFFF::/33': '2001:db8:8000::/33',
    '::/0': '::/0',
    '::ffff:10.1.2.3/104': '10.0.0.0/8',
    '::ffff:10.1.2.3/95': undefined,
    '10.0.0.0/33': undefined,
    '::/129': undefined,
    '10.0.0.0': undefined,
    '10.0.0.0/': undefined,
    '10.0.0.0/8/8': undefined,
    '10.0.0.0/-1': undefined,
    '10.0.0/8': undefined,
    '': undefined,
  };
  for (const [text, canonical] of Object.entries(cases))
    t.equal(canonicalCidr(text), canonical, JSON.stringify(text));
  holds(
    t,
    fc.property(fc.ipV4(), fc.integer({ min: 0, max: 32 }), fc.nat(0xffffffff), (base, bits, number) => {
      const word = (address: string) => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
      const address = [24, 16, 8, 0].map((shift) => (number >>> shift) & 0xff).join('.');
      const size = 2 ** (32 - bits);
      const within = Math.floor(word(base) / size) === Math.floor(number / size);
      return cidrContains(canonicalCidr(`${base}/${bits}`)!, address) === within;
    }),
  );
  t.notOk(cidrContains('::/0', '10.0.0.1'), 'families never mix');
});

t.test('which clients may use a load balancer (S-61)', async (t) => {
  const sources = (more: Partial<ServiceObject>, nodeAddresses = ['192.0.2.1', '2001:db8::1']) =>
    buildServicePorts(
      service('web', ['10.96.0.1', 'fd00::1'], {
        type: 'LoadBalancer',
        loadBalancerIPs: ['203.0.113.1', '2001:db8:1::1'],
        ...more,
      }),
      [],
      { ...here, addresses: nodeAddresses },
    ).map(({ allow, deny }) => ({ allow, deny }));
  const ranges = ['10.1.2.3/8', ' 10.0.0.0/8', 'nonsense', '172.16.0.0/12'];
  t.same(
    sources({ loadBalancerSourceRanges: ranges }),
    [
      { allow: ['10.0.0.0/8', '172.16.0.0/12'], deny: [] },
      { allow: [], deny: [] },
    ],
    'a family without a range is not restricted',
  );
  t.same(
    sources({ loadBalancerSourceRanges: ['192.0.2.0/24', '2001:db8::/64'] }).map(({ allow }) => allow),
    [
      ['192.0.2.0/24', '203.0.113.1/32'],
      ['2001:db8:1::1/128', '2001:db8::/64'],
    ],
    'where this node may, so may the address itself: the kernel picks it as the source',
  );
  t.same(
    sources({ loadBalancerSourceRanges: ['0.0.0.0/1', '128.0.0.0/1'] }, [])[0]?.allow,
    ['0.0.0.0/1', '128.0.0.0/1'],
    'two halves are two ranges',
  );
  t.same(sources({ deniedSourceRanges: ['10.9.9.9/16', 'fd00::/8'] }), [
    { allow: [], deny: ['10.9.0.0/16'] },
    { allow: [], deny: ['fd00::/8'] },
  ]);
});

t.test('what health checks report of local endpoints (S-13, S-91, S-93)', async (t) => {
  const ports = [
    { name: 'http', protocol: 'TCP' as const, port: 80, nodePort: 30080 },
    { name: 'https', protocol: 'TCP' as const, port: 443, nodePort: 30443 },
  ];
  const balanced = service('web', ['10.96.0.1', 'fd00::1'], {
    type: 'LoadBalancer',
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: 32000,
    ports,
  });
  const named = { ports: ports.map(({ name, protocol, port }) => ({ name, protocol, port: port + 8000 })) };
  const slices = [
    slice('a', 'web', [endpoint('10.0.0.1', near), endpoint('10.0.0.2', far)], named),
    slice('b', 'web', [endpoint('10.0.0.1', near), endpoint('10.0.0.3', { ...near, ...leaving })], named),
    slice('c', 'web', [endpoint('fd00::11', near), endpoint('fd00::12', near)], named),
  ];
  t.same(healthChecksOf(balanced, slices, here), {
    namespace: 'default',
    name: 'web',
    port: 32000,
    localEndpoints: { 4: 1, 6: 2 },
  });
  const without: readonly [string, ServiceObject | undefined][] = [
    ['no Service', undefined],
    ['NodePort', { ...balanced, type: 'NodePort' }],
    ['Cluster', { ...balanced, externalTrafficPolicy: 'Cluster' }],
    ['no port', { ...balanced, healthCheckNodePort: 0 }],
    ['headless', { ...balanced, clusterIPs: ['None'] }],
    [
      'another proxy',
      { ...balanced, meta: meta('web', { 'service.kubernetes.io/service-proxy-name': 'x' }) },
    ],
  ];
  for (const [what, object] of without) t.equal(healthChecksOf(object, slices, here), undefined, what);
});

t.test('topology hints (S-31, S-37, S-38)', async (t) => {
  const zone = (address: string, ...zoneHints: string[]) => endpoint(address, { zoneHints });
  const both = (address: string, node: string, hint: string) =>
    endpoint(address, { nodeHints: [node], zoneHints: [hint] });
  const cases: readonly [string, readonly EndpointObject[], readonly number[], typeof here][] = [
    ['own zone', [zone('10.0.0.1', 'west'), zone('10.0.0.2', 'east')], [1], here],
    ['several hints', [zone('10.0.0.1', 'east', 'west'), zone('10.0.0.2', 'east')], [1], here],
    ['one without a hint switches it off', [zone('10.0.0.1', 'west'), zone('10.0.0.2')], [1, 2], here],
    ['no endpoint for our zone', [zone('10.0.0.1', 'east'), zone('10.0.0.2', 'east')], [1, 2], here],
    ['zone unknown', [zone('10.0.0.1', 'west'), zone('10.0.0.2', 'east')], [1, 2], { ...here, zone: '' }],
    [
      'an unready one in our zone',
      [endpoint('10.0.0.1', { ...notReady, zoneHints: ['west'] }), zone('10.0.0.2', 'east')],
      [2],
      here,
    ],
    [
      'an unready one without a hint',
      [endpoint('10.0.0.1', notReady), zone('10.0.0.2', 'west'), zone('10.0.0.3', 'east')],
      [2],
      here,
    ],
    ['own node', [both('10.0.0.1', 'node-a', 'west'), both('10.0.0.2', 'node-b', 'west')], [1], here],
    [
      'no hint for the node: the zone',
      [both('10.0.0.1', 'node-b', 'west'), both('10.0.0.2', 'node-c', 'east')],
      [1],
      here,
    ],
    [
      'the one for the node is not ready: the zone',
      [
        endpoint('10.0.0.1', { ...notReady, nodeHints: ['node-a'], zoneHints: ['west'] }),
        both('10.0.0.2', 'node-b', 'west'),
        both('10.0.0.3', 'node-c', 'east'),
      ],
      [2],
      here,
    ],
    [
      'leaving ones everywhere',
      [
        endpoint('10.0.0.1', { ...leaving, zoneHints: ['west'] }),
        endpoint('10.0.0.2', { ...leaving, zoneHints: ['east'] }),
      ],
      [1, 2],
      here,
    ],
  ];
  for (const [what, endpoints, expected, node] of cases) {
    const want = expected.map((last) => `10.0.0.${last}:8080`);
    t.same(selected([slice('a', 'web', endpoints)], web, node), want, what);
  }
});

t.test('the order of slices and endpoints does not matter', async (t) => {
  const all = ['10.0.0.10', '10.0.0.9', '10.0.0.1'].map((one) => endpoint(one));
  const one = buildServicePorts(web, [slice('a', 'web', all)], here);
  const two = buildServicePorts(
    web,
    [slice('b', 'web', all.slice(1)), slice('a', 'web', all.slice(0, 1))],
    here,
  );
  t.same(one, two);
});
