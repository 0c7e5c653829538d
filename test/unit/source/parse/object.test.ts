// Parsing of raw objects: defaults, old objects, and invalid values.
import t from 'tap';
import type {
  EndpointSliceObject,
  NodeObject,
  ServiceObject,
  SourceKind,
  SourceObject,
} from '../../../../src/source/objects.ts';
import { parseFamily } from '../../../../src/net/ip.ts';
import { isForeign } from '../../../../src/source/parse/meta.ts';
import { parseObject } from '../../../../src/source/parse/object.ts';
import { pathText } from '../../../../src/source/parse/reader.ts';

const meta = { name: 'web', namespace: 'shop', uid: 'u' };

/** The object and what was wrong, as "field: message". */
function parse(kind: SourceKind, raw: object): { object: SourceObject | undefined; problems: string[] } {
  const { object, problems } = parseObject(kind, { metadata: meta, ...raw });
  return { object, problems: problems.map(({ path, message }) => `${pathText(path)}: ${message}`) };
}

function service(spec: object, status: object = {}): { object: ServiceObject; problems: string[] } {
  return parse('Service', { spec, status }) as { object: ServiceObject; problems: string[] };
}

function slice(fields: object): { object: EndpointSliceObject; problems: string[] } {
  return parse('EndpointSlice', { addressType: 'IPv4', ...fields }) as {
    object: EndpointSliceObject;
    problems: string[];
  };
}

t.test('a Service without fields has the API’s defaults', async (t) => {
  const { object, problems } = service({ clusterIP: '10.96.0.1', ports: [{ port: 80 }] });
  t.same(problems, []);
  t.strictSame(object, {
    kind: 'Service',
    meta: { ...meta, labels: {}, annotations: {} },
    type: 'ClusterIP',
    clusterIPs: ['10.96.0.1'],
    ipFamilies: [4],
    externalIPs: [],
    loadBalancerIPs: [],
    loadBalancerSourceRanges: [],
    deniedSourceRanges: [],
    socketHooks: true,
    ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: 0 }],
    internalTrafficPolicy: 'Cluster',
    externalTrafficPolicy: 'Cluster',
    affinitySec: 0,
    healthCheckNodePort: 0,
  });
});

t.test('null and empty text have the API’s defaults too, as kubectl may write them', async (t) => {
  for (const empty of [null, '']) {
    const { object, problems } = service({
      ...{ type: empty, clusterIP: '10.96.0.1', clusterIPs: null, ipFamilies: null, externalIPs: null },
      ...{ sessionAffinity: empty, externalTrafficPolicy: empty, internalTrafficPolicy: empty },
      ...{ loadBalancerSourceRanges: null, healthCheckNodePort: null, sessionAffinityConfig: null },
      ports: [{ name: empty, protocol: empty, port: 80, nodePort: null, targetPort: null }],
    });
    t.same(problems, []);
    t.match(object, {
      ...{ type: 'ClusterIP', clusterIPs: ['10.96.0.1'], ipFamilies: [4], externalIPs: [], affinitySec: 0 },
      ...{ internalTrafficPolicy: 'Cluster', externalTrafficPolicy: 'Cluster', healthCheckNodePort: 0 },
      ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: 0 }],
    });
    const found = slice({
      endpoints: [{ addresses: ['10.1.0.1'], conditions: null, hints: null, nodeName: null }],
      ports: [{ name: empty, protocol: empty, port: 80 }],
    });
    t.same(found.problems, []);
    t.match(found.object, {
      endpoints: [{ ready: true, serving: true, terminating: false, nodeName: undefined }],
      ports: [{ name: '', protocol: 'TCP', port: 80 }],
    });
  }
  t.match(slice({ ports: null, endpoints: null }), { object: { ports: [], endpoints: [] }, problems: [] });
  const both = service({ clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.2'], ports: [{ port: 80 }] });
  t.match(both, {
    object: { clusterIPs: ['10.96.0.2'] },
    problems: [/^spec\.clusterIP: differs from clusterIPs/],
  });
});

t.test('addresses of a Service', async (t) => {
  const cases: [what: string, spec: object, clusterIPs: string[], families: number[]][] = [
    [
      'S-9: both families, in their own order',
      { clusterIPs: ['fd00::1', '10.0.0.1'], ipFamilies: ['IPv6', 'IPv4'] },
      ['fd00::1', '10.0.0.1'],
      [6, 4],
    ],
    [
      'S-9: families by the addresses where they are not said',
      { clusterIPs: ['fd00::1', '10.0.0.1'] },
      ['fd00::1', '10.0.0.1'],
      [6, 4],
    ],
    ['S-9: very old objects have one address only', { clusterIP: '10.0.0.1' }, ['10.0.0.1'], [4]],
    ['S-3: headless', { clusterIP: 'None', clusterIPs: ['None'], ipFamilies: ['IPv4'] }, ['None'], [4]],
    ['S-3: none at all', { clusterIP: '' }, [], []],
    ['S-15: leading zeros are decimal', { clusterIP: '010.001.002.003' }, ['010.001.002.003'], [4]],
  ];
  for (const [what, spec, clusterIPs, ipFamilies] of cases) {
    const { object, problems } = service({ ports: [], ...spec });
    t.match(object, { clusterIPs, ipFamilies }, what);
    t.same(problems, [], what);
  }
});

t.test('ranges of clients: of the field and of our annotation (S-61)', async (t) => {
  const raw = (loadBalancerSourceRanges: unknown, annotation?: unknown) => ({
    metadata: { name: 'web', annotations: { 'sluice.dev/deny-source-ranges': annotation } },
    spec: { clusterIP: '10.96.0.1', ports: [{ port: 80 }], loadBalancerSourceRanges },
  });
  const read = (object: object) => {
    const { object: service, problems } = parseObject('Service', object);
    if (service?.kind !== 'Service') throw new Error('no Service');
    return {
      allow: service.loadBalancerSourceRanges,
      deny: service.deniedSourceRanges,
      problems: problems.map(({ path }) => pathText(path)),
    };
  };
  t.same(read(raw([' 10.0.0.0/8 ', '::ffff:10.0.0.0/104', 'fd00::/8'], ' 192.0.2.7/24,2001:db8::/32 ')), {
    allow: ['10.0.0.0/8', '::ffff:10.0.0.0/104', 'fd00::/8'],
    deny: ['192.0.2.7/24', '2001:db8::/32'],
    problems: [],
  });
  t.same(read(raw(undefined, '')), { allow: [], deny: [], problems: [] });
  t.same(
    read(raw(['10.0.0.0/33', '::ffff:10.0.0.0/8', '10.0.0.1', '10.0.0.0/8'], '10.0.0.0/8,,nonsense')),
    {
      allow: ['10.0.0.0/8'],
      deny: ['10.0.0.0/8'],
      problems: [
        'spec.loadBalancerSourceRanges[0]',
        'spec.loadBalancerSourceRanges[1]',
        'spec.loadBalancerSourceRanges[2]',
        'metadata.annotations.sluice.dev/deny-source-ranges',
        'metadata.annotations.sluice.dev/deny-source-ranges',
      ],
    },
    'what is none is left out alone, and told',
  );
});

t.test('S-15: what is an address', async (t) => {
  const cases: [text: string, family: 4 | 6 | undefined][] = [
    ['10.0.0.1', 4],
    ['010.001.002.003', 4],
    ['0.0.0.0', 4],
    ['000.000.000.000', 4],
    ['0300.1.1.1', undefined],
    ['10.0.0.256', undefined],
    ['10.0.0', undefined],
    ['0x7f.0.0.1', undefined],
    ['10.0.0.1 ', undefined],
    ['fd00::1', 6],
    ['::', 6],
    ['::ffff:10.0.0.1', 4],
    ['::FFFF:0a00:0001', 4],
    ['0:0:0:0:0:ffff:10.0.0.1', 4],
    ['fd00::1::2', undefined],
    ['', undefined],
    ['web.example', undefined],
  ];
  for (const [text, family] of cases) t.equal(parseFamily(text), family, JSON.stringify(text));
});

t.test('S-15: an unusable address is ignored alone, and reported', async (t) => {
  const { object, problems } = service({
    clusterIP: '10.0.0.1',
    externalIPs: ['1.2.3.4', 'nonsense', 7],
    loadBalancerSourceRanges: [' 10.0.0.0/8 ', '10.0.0.0/33', 'fd00::/64', '10.0.0.0', '10.0.0.1/8'],
    ports: [
      { port: 80 },
      { port: 0 },
      { name: 'x' },
      { port: 81, protocol: 'ICMP' },
      { port: 53, protocol: 'UDP' },
      'what',
    ],
    sessionAffinity: 'Sometimes',
    internalTrafficPolicy: 'local',
  });
  t.match(object, { externalIPs: ['1.2.3.4'], internalTrafficPolicy: 'Cluster', affinitySec: 0 });
  t.same(
    object.loadBalancerSourceRanges,
    ['10.0.0.0/8', 'fd00::/64', '10.0.0.1/8'],
    'white space goes, host bits stay',
  );
  t.same(
    object.ports.map(({ port, protocol }) => `${port}/${protocol}`),
    ['80/TCP', '53/UDP'],
  );
  t.same(problems.map((problem) => problem.split(':')[0]).sort(), [
    'spec.externalIPs[1]',
    'spec.externalIPs[2]',
    'spec.internalTrafficPolicy',
    'spec.loadBalancerSourceRanges[1]',
    'spec.loadBalancerSourceRanges[3]',
    'spec.ports[1].port',
    'spec.ports[2].port',
    'spec.ports[3].protocol',
    'spec.ports[5].port',
    'spec.sessionAffinity',
  ]);
});

t.test('S-14: session affinity', async (t) => {
  const cases: [spec: object, seconds: number][] = [
    [{ sessionAffinity: 'None', sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } }, 0],
    [{ sessionAffinity: 'ClientIP' }, 10800],
    [{ sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } }, 60],
    [{ sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 0 } } }, 10800],
    [{ sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 86401 } } }, 10800],
  ];
  for (const [spec, seconds] of cases)
    t.equal(service(spec).object.affinitySec, seconds, JSON.stringify(spec));
});

t.test('S-16, S-60: addresses of a load balancer come from the status alone', async (t) => {
  const ingress = [
    { ip: '1.1.1.1' },
    { ip: '2.2.2.2', ipMode: 'VIP' },
    { ip: '3.3.3.3', ipMode: 'Proxy' },
    { hostname: 'lb' },
    { ip: '' },
  ];
  const { object, problems } = service(
    { type: 'ClusterIP', loadBalancerIP: '9.9.9.9' },
    { loadBalancer: { ingress } },
  );
  t.same(object.loadBalancerIPs, ['1.1.1.1', '2.2.2.2']);
  t.same(problems, []);
});

t.test('S-2: a label that gives an object to another proxy counts whatever its value', async (t) => {
  for (const label of ['service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless']) {
    const { object } = parse('Service', { metadata: { ...meta, labels: { [label]: '' } } });
    t.ok(object && isForeign(object.meta), label);
  }
  t.notOk(isForeign({ ...meta, labels: {}, annotations: {} }));
});

t.test('S-21…S-26, S-31, S-88: EndpointSlices', async (t) => {
  const { object, problems } = slice({
    metadata: { ...meta, labels: { 'kubernetes.io/service-name': 'web' } },
    endpoints: [
      { addresses: ['10.1.0.1', '10.1.0.2'] },
      { addresses: [] },
      {
        addresses: ['10.1.0.3'],
        conditions: { ready: false, serving: true, terminating: true },
        nodeName: 'n',
      },
      {
        addresses: ['10.1.0.4'],
        conditions: { ready: null },
        hints: { forZones: [{ name: 'a' }, { name: 'b' }], forNodes: [{ name: 'n' }] },
      },
    ],
    ports: [
      { name: '', port: 80 },
      { port: 81 },
      { name: 'nil' },
      { name: 'zero', port: 0 },
      { name: 'dns', port: 53, protocol: 'UDP', appProtocol: 'x' },
      { name: null, port: 82 },
    ],
  });
  t.same(
    problems.map((problem) => problem.replace(/:.*/, '')),
    ['endpoints[0].addresses', 'endpoints[1].addresses', 'ports[2].port', 'ports[3].port'],
    'what is passed over is told',
  );
  t.equal(object.serviceName, 'web');
  const none = { nodeName: undefined, zoneHints: [], nodeHints: [] };
  t.strictSame(object.endpoints, [
    { ...none, addresses: ['10.1.0.1', '10.1.0.2'], ready: true, serving: true, terminating: false },
    { ...none, addresses: ['10.1.0.3'], ready: false, serving: true, terminating: true, nodeName: 'n' },
    {
      addresses: ['10.1.0.4'],
      ready: true,
      serving: true,
      terminating: false,
      nodeName: undefined,
      zoneHints: ['a', 'b'],
      nodeHints: ['n'],
    },
  ]);
  t.strictSame(object.ports, [
    { name: '', protocol: 'TCP', port: 80 },
    { name: '', protocol: 'TCP', port: 81 },
    { name: 'dns', protocol: 'UDP', port: 53 },
    { name: '', protocol: 'TCP', port: 82 },
  ]);
  t.equal(slice({}).object.serviceName, '', 'S-21: no label');
  t.match(
    slice({ addressType: 'FQDN', endpoints: [{ addresses: ['a.example'] }] }),
    { object: { endpoints: [] }, problems: [] },
    'S-22',
  );
  t.match(slice({ endpoints: [{ addresses: ['10.1.0.300'] }, { addresses: ['10.1.0.1'] }] }), {
    object: { endpoints: [{ addresses: ['10.1.0.1'] }] },
    problems: [/^endpoints\[0\]\.addresses\[0\]: "10\.1\.0\.300" is no IP address/],
  });
  t.match(slice({ addressType: 'IPX' }), {
    object: undefined,
    problems: [/^addressType: must be one of IPv4, IPv6, FQDN/],
  });
});

t.test('a Node', async (t) => {
  const { object, problems } = parse('Node', {
    metadata: {
      name: 'n',
      uid: 'u',
      namespace: 'x',
      labels: { 'topology.kubernetes.io/zone': 'z' },
      deletionTimestamp: '2026-01-01T00:00:00Z',
    },
    spec: { taints: [{ key: 'k', effect: 'NoSchedule' }] },
    status: {
      addresses: [
        { type: 'InternalIP', address: '10.0.0.1' },
        { type: 'Hostname', address: 'n' },
        { type: 'x' },
      ],
    },
  });
  t.same(problems, []);
  t.strictSame(object, {
    kind: 'Node',
    meta: {
      name: 'n',
      namespace: '',
      uid: 'u',
      labels: { 'topology.kubernetes.io/zone': 'z' },
      annotations: {},
    },
    addresses: [
      { type: 'InternalIP', address: '10.0.0.1' },
      { type: 'Hostname', address: 'n' },
    ],
    taints: ['k'],
    podCIDRs: [],
    deleting: true,
  });
  t.match(parse('Node', {}).object, { addresses: [], taints: [], deleting: false });
  const podCidrs = (spec: object) => {
    const parsed = parse('Node', { metadata: { name: 'n' }, spec });
    return [(parsed.object as NodeObject).podCIDRs, parsed.problems];
  };
  t.same(podCidrs({ podCIDR: '10.1.0.0/24', podCIDRs: ['10.1.0.0/24', 'fd00:1::/64'] }), [
    ['10.1.0.0/24', 'fd00:1::/64'],
    [],
  ]);
  t.same(
    podCidrs({ podCIDR: '10.1.0.0/24' }),
    [['10.1.0.0/24'], []],
    'S-76: an object older than dual stack',
  );
  t.match(podCidrs({ podCIDRs: ['10.1.0.0', 'fd00:1::/64'] }), [
    ['fd00:1::/64'],
    [/podCIDRs\[0\]: .* is no CIDR/],
  ]);
});

t.test('reading any object ends, and reports where it failed', async (t) => {
  for (const raw of [
    null,
    7,
    'text',
    [],
    {},
    { metadata: null },
    { metadata: { name: 7 } },
    { metadata: { name: '' } },
  ]) {
    for (const kind of ['Service', 'EndpointSlice', 'Node'] as const) {
      const { object, problems } = parseObject(kind, raw);
      t.equal(object, undefined, `${kind} ${JSON.stringify(raw)}`);
      t.equal(problems.length, 1);
      t.same(problems[0]?.path, ['metadata', 'name']);
    }
  }
  const odd = parse('Service', {
    metadata: { name: 'web', labels: ['x'], annotations: { a: 1 } },
    spec: { ports: { port: 1 } },
  });
  t.same(odd.problems, [
    'metadata.labels: must be a mapping, not a list',
    'metadata.annotations.a: must be text, not 1',
    'spec.ports: must be a list, not a mapping',
  ]);
  t.match(odd.object, { meta: { namespace: 'default', labels: {}, annotations: {} }, ports: [] });
});
