// Manifests written by hand: what an API server would have defaulted or refused, and what only shows beside other
// objects. Every part of a manifest is served, or reported.
import fc from 'fast-check';
import t from 'tap';
import { buildServicePorts } from '../../../src/model/build.ts';
import { readManifest } from '../../../src/source/manifests/document.ts';
import { merge, type Merged } from '../../../src/source/manifests/merge.ts';
import type { EndpointSliceObject, ServiceObject } from '../../../src/source/objects.ts';
import { parseObject } from '../../../src/source/parse/object.ts';
import { findingsOf, whyNotForwarded } from '../../../src/source/findings.ts';
import { holds } from '../../support/run/property.ts';

const node = { name: 'node-a', zone: '', addresses: ['192.0.2.1'] };

/** Each object in a file of its own, so that a problem's place tells whose it is. */
function read(files: Readonly<Record<string, object | string>>): Merged {
  const texts = Object.entries(files).map(([name, content]) => {
    const text = typeof content === 'string' ? content : JSON.stringify(content, undefined, 1);
    return [name, readManifest(name, text)] as const;
  });
  return merge(new Map(texts));
}

function service(spec: object, more: object = {}): object {
  const metadata = { name: 'web', namespace: 'shop' };
  return { apiVersion: 'v1', kind: 'Service', metadata, spec: { clusterIP: '10.96.0.1', ...spec }, ...more };
}

const label = (name: string): object => ({ 'kubernetes.io/service-name': name });

function slice(fields: object, labels: object = label('web')): object {
  return {
    ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice' },
    metadata: { name: 'web-1', namespace: 'shop', labels },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.1.0.1'] }],
    ports: [{ port: 8080 }],
    ...fields,
  };
}

/** Backends of shop/web, as ADDRESS:PORT. */
function backendsIn({ objects }: Merged): string[] {
  const all = [...objects.values()];
  const web = all.find((one): one is ServiceObject => one.kind === 'Service');
  const slices = all.filter((one): one is EndpointSliceObject => one.kind === 'EndpointSlice');
  const own = slices.filter(({ serviceName, meta }) => serviceName === 'web' && meta.namespace === 'shop');
  return buildServicePorts(web, own, node).flatMap((port) =>
    port.endpoints.map((one) => `${one.address}:${one.port}`),
  );
}

const http = { ports: [{ port: 80 }] };
const served = { web: service(http), slice: slice({}) };

t.test('ports without a name match: the API’s default is the empty name (S-24)', async (t) => {
  for (const name of [{}, { name: null }, { name: '' }]) {
    const found = read({
      web: service({ ports: [{ port: 80, ...name }] }),
      slice: slice({ ports: [{ port: 8080, ...name }] }),
    });
    t.same(backendsIn(found), ['10.1.0.1:8080'], JSON.stringify(name));
    t.same(found.problems, []);
  }
});

t.test('ignored parts are reported with their place, field and Service', async (t) => {
  const named = service({ ports: [{ name: 'http', port: 80 }] });
  const cases: Readonly<
    Record<
      string,
      [
        files: Record<string, object | string>,
        where: string,
        field: string,
        message: RegExp,
        rest?: 'refused',
      ]
    >
  > = {
    'a slice of other port names': [
      { web: named, slice: slice({}) },
      'slice:1',
      'ports',
      /"" \(TCP\) is no port of Service shop\/web: use one of "http" \(TCP\)/,
    ],
    'a slice of another protocol': [
      { ...served, slice: slice({ ports: [{ port: 1, protocol: 'UDP' }] }) },
      'slice:1',
      'ports',
      /"" \(UDP\) is no port/,
    ],
    'a port that no slice has': [
      {
        web: service({
          ports: [
            { name: 'a', port: 1 },
            { name: 'b', port: 2 },
          ],
        }),
        slice: slice({ ports: [{ name: 'a', port: 1 }] }),
      },
      'web:1',
      'spec.ports[1].name',
      /no EndpointSlice has "b" \(TCP\): connections are refused/,
    ],
    'a port without a number': [
      { ...served, slice: slice({ ports: [{ name: '' }, { port: 1 }] }) },
      'slice:20',
      'ports[0].port',
      /is missing: a slice for all ports/,
    ],
    'port 0': [
      { ...served, slice: slice({ ports: [{ port: 0 }, { port: 1 }] }) },
      'slice:21',
      'ports[0].port',
      /is missing: a slice for all ports/,
    ],
    'no ports': [
      { ...served, slice: slice({ ports: null }) },
      'slice:1',
      'ports',
      /no port that can be used/,
    ],
    'no label': [
      { ...served, two: slice({ metadata: { name: 'two' } }) },
      'two:1',
      'metadata.labels',
      /without the label kubernetes\.io\/service-name/,
    ],
    'no such Service': [
      { ...served, two: slice({ metadata: { name: 'two', namespace: 'shop', labels: label('wbe') } }) },
      'two:1',
      'metadata.labels',
      /there is no Service shop\/wbe/,
    ],
    'a Service of another namespace': [
      { ...served, two: slice({ metadata: { name: 'two', namespace: 'other', labels: label('web') } }) },
      'two:1',
      'metadata.labels',
      /there is no Service other\/web/,
    ],
    'names to resolve': [
      { ...served, slice: slice({ addressType: 'FQDN', endpoints: [{ addresses: ['a.example'] }] }) },
      'slice:1',
      'addressType',
      /FQDN is not supported/,
    ],
    'a family that the Service has not': [
      { ...served, slice: slice({ addressType: 'IPv6', endpoints: [{ addresses: ['fd00::1'] }] }) },
      'slice:1',
      'addressType',
      /no ClusterIP of IPv6/,
    ],
    'an address of another family than the slice': [
      { ...served, slice: slice({ endpoints: [{ addresses: ['fd00::1'] }] }) },
      'slice:14',
      'endpoints[0].addresses',
      /"fd00::1" is not IPv4, the addressType/,
    ],
    'an endpoint without address': [
      { ...served, slice: slice({ endpoints: [{ addresses: [] }] }) },
      'slice:14',
      'endpoints[0].addresses',
      /has no address/,
    ],
    'an endpoint of nothing': [
      { ...served, slice: slice({ endpoints: [null] }) },
      'slice:13',
      'endpoints[0].addresses',
      /has no address/,
    ],
    'further addresses': [
      { ...served, slice: slice({ endpoints: [{ addresses: ['10.1.0.1', '10.1.0.2'] }] }) },
      'slice:14',
      'endpoints[0].addresses',
      /the first is used/,
    ],
    'another proxy’s slice': [
      {
        ...served,
        slice: slice({
          metadata: {
            name: 'web-1',
            namespace: 'shop',
            labels: { ...label('web'), 'service.kubernetes.io/headless': '' },
          },
        }),
      },
      'slice:7',
      'metadata.labels',
      /headless assigns it to another proxy/,
    ],
    'another proxy’s Service': [
      {
        web: service(http, {
          metadata: {
            name: 'web',
            namespace: 'shop',
            labels: { 'service.kubernetes.io/service-proxy-name': 'x' },
          },
        }),
      },
      'web:7',
      'metadata.labels',
      /service-proxy-name assigns it/,
    ],
    Endpoints: [
      { ...served, old: { apiVersion: 'v1', kind: 'Endpoints', metadata: { name: 'web' } } },
      'old:3',
      'kind',
      /write an EndpointSlice instead/,
    ],
    'kinds that are not read, once': [
      { ...served, many: 'kind: Pod2\napiVersion: x/v1\n---\nkind: Pod2\napiVersion: x/v1\n' },
      'many:1',
      'kind',
      /^Pod2 of x\/v1 is not read \(2 of them\)$/,
    ],
    'a misspelt field': [
      { ...served, web: service({ ...http, internalTraficPolicy: 'Local' }) },
      'web:15',
      'spec.internalTraficPolicy',
      /is an unknown field/,
    ],
    'a misspelt condition': [
      { ...served, slice: slice({ endpoints: [{ addresses: ['10.1.0.1'], conditions: { reddy: false } }] }) },
      'slice:18',
      'endpoints[0].conditions.reddy',
      /is an unknown field/,
    ],
    'no cluster address': [
      { web: service({ ...http, clusterIP: null }), slice: slice({}) },
      'web:1',
      'spec.clusterIP',
      /none is assigned/,
    ],
    'a NodePort without number': [
      { ...served, web: service({ ...http, type: 'NodePort' }) },
      'web:1',
      'spec.ports[0].nodePort',
      /none is assigned/,
    ],
    'a load balancer without address': [
      { ...served, web: service({ ...http, type: 'LoadBalancer', loadBalancerIP: '192.0.2.9' }) },
      'web:1',
      'status.loadBalancer.ingress',
      /spec\.loadBalancerIP is not used/,
    ],
    'a balancer that cannot ask': [
      {
        ...served,
        web: service(
          { ...http, type: 'LoadBalancer', externalTrafficPolicy: 'Local' },
          { status: { loadBalancer: { ingress: [{ ip: '192.0.2.9' }] } } },
        ),
      },
      'web:1',
      'spec.healthCheckNodePort',
      /none is assigned/,
    ],
    'a selector alone': [
      { web: service({ ...http, selector: { app: 'web' } }) },
      'web:1',
      'spec.selector',
      /write EndpointSlices/,
    ],
    'a name that is none': [
      { ...served, other: service(http, { metadata: { name: 'a/b\u001b[31m' } }) },
      'other:5',
      'metadata.name',
      /must be letters, digits, "-" and "\.", not "a\/b\\u001b\[31m"/,
    ],
    'no ports at all': [{ web: service({ ports: null }) }, 'web:1', 'spec.ports', /nothing is forwarded/],
    'a port name twice': [
      { ...served, web: service({ ports: [{ port: 80 }, { port: 81 }] }) },
      'web:1',
      'spec.ports[1].name',
      /"" \(TCP\) is the name of an earlier port/,
    ],
    'a port number twice': [
      {
        web: service({
          ports: [
            { name: 'a', port: 80 },
            { name: 'b', port: 80 },
          ],
        }),
      },
      'web:1',
      'spec.ports[1].port',
      /80\/TCP is in use by another port/,
    ],
    'families in another order than addresses': [
      {
        ...served,
        web: service({ ...http, ipFamilies: ['IPv6'] }),
        slice: 'apiVersion: v1\nkind: Service\nmetadata: {name: none}\nspec: {type: ExternalName}',
      },
      'web:1',
      'spec.clusterIPs[0]',
      /10\.96\.0\.1 is not IPv6, as ipFamilies says/,
    ],
    'two addresses of one family': [
      {
        ...served,
        web: service({ ...http, clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1', '10.96.0.2'] }),
      },
      'web:1',
      'spec.clusterIPs[1]',
      /second of its family/,
    ],
    'clusterIP and clusterIPs at odds': [
      { ...served, web: service({ ...http, clusterIPs: ['10.96.0.2'] }) },
      'web:9',
      'spec.clusterIP',
      /differs from clusterIPs\[0\]/,
    ],
    'an external address of another family': [
      { ...served, web: service({ ...http, externalIPs: ['fd00::9'] }) },
      'web:1',
      'spec.externalIPs',
      /fd00::9 is not served/,
    ],
  };
  for (const [what, [files, where, field, message]] of Object.entries(cases)) {
    const { problems } = read(files);
    t.match(problems, [{ where, field, message }], what);
    t.equal(problems.length, 1, `${what}: nothing besides`);
    const isOne = /^(?:spec|status|ports|endpoints|addressType)/.test(field);
    if (isOne) t.equal(problems[0]?.service, 'shop/web', `${what}: of its Service`);
  }
});

t.test('an address of two Services is reported for the second (S-19)', async (t) => {
  const named = (name: string, spec: object): object =>
    service({ ...http, ...spec }, { metadata: { name, namespace: 'shop' } });
  const told = (first: object, second: object) =>
    read({ one: named('one', first), two: named('two', second) }).problems.map(
      ({ where, field, message }) => `${where} ${field} ${message}`,
    );
  t.match(told({}, {}), [/^two:1 spec\.clusterIP 10\.96\.0\.1 is in use by Service shop\/one too/]);
  const port = (nodePort: number) => ({ type: 'NodePort', ports: [{ port: 80, nodePort }] });
  const other = { clusterIP: '10.96.0.2' };
  t.match(told(port(30_080), { ...port(30_080), ...other }), [
    /^two:1 spec\.ports NodePort 30080\/TCP is in use/,
  ]);
  t.same(told(port(30_080), { ...port(30_081), ...other }), []);
  t.same(told({ clusterIP: 'None' }, { clusterIP: 'None' }), []);
});

t.test('intended settings are no problem', async (t) => {
  for (const [what, files] of Object.entries({
    'a Service and its slice': served,
    'no slice yet': { web: served.web },
    headless: { web: service({ clusterIP: 'None', ports: null }), slice: slice({ ports: null }) },
    'a name for DNS': { web: service({ clusterIP: null, type: 'ExternalName', externalName: 'a.example' }) },
    'both families': {
      web: service({
        ...http,
        clusterIP: '10.96.0.1',
        clusterIPs: ['10.96.0.1', 'fd00::a'],
        ipFamilyPolicy: 'PreferDualStack',
      }),
      slice: slice({}),
      six: slice({
        metadata: { name: 'web-2', namespace: 'shop', labels: label('web') },
        addressType: 'IPv6',
        endpoints: [{ addresses: ['fd00::1'] }],
      }),
    },
    'two numbers of one name': {
      ...served,
      two: slice({
        metadata: { name: 'web-2', namespace: 'shop', labels: label('web') },
        ports: [{ port: 9090 }],
      }),
    },
    'every field that kubectl prints': {
      web: service(
        {
          ...http,
          selector: { app: 'web' },
          type: 'ClusterIP',
          sessionAffinity: 'None',
          trafficDistribution: 'PreferClose',
        },
        { status: { loadBalancer: {} } },
      ),
      slice: slice({
        endpoints: [
          {
            addresses: ['10.1.0.1'],
            zone: 'a',
            hostname: 'h',
            targetRef: { kind: 'Pod' },
            hints: { forZones: [{ name: 'a' }] },
          },
        ],
        ports: [{ port: 8080, appProtocol: 'http' }],
      }),
    },
  }))
    t.same(read(files).problems, [], what);
});

/** Whatever a person may write there, and what is left out. */
const odd = <T>(...values: T[]) => fc.constantFrom(undefined, null, '', ...values);

const rawSlice = fc.record({
  addressType: fc.constantFrom('IPv4', 'IPv6', 'FQDN'),
  labels: fc.constantFrom(
    label('web'),
    label('web'),
    label('wbe'),
    {},
    { ...label('web'), 'service.kubernetes.io/headless': '' },
  ),
  namespace: fc.constantFrom('shop', 'shop', 'default', undefined),
  endpoints: fc.array(
    fc.record({
      addresses: fc.constantFrom(
        ['10.1.0.1'],
        ['10.1.0.2'],
        ['fd00::1'],
        [],
        null,
        ['10.1.0.3', '10.1.0.1'],
        ['010.1.0.1'],
      ),
      conditions: fc.constantFrom(undefined, null, {}, { ready: null }, { ready: false }),
      nodeName: odd('node-a'),
    }),
    { maxLength: 3 },
  ),
  ports: fc.oneof(
    fc.constantFrom(null, undefined),
    fc.array(
      fc.record({
        name: odd('http', 'dns'),
        port: fc.constantFrom(8080, 53, 0, null, undefined),
        protocol: odd('UDP', 'TCP'),
      }),
      { maxLength: 3 },
    ),
  ),
});

const rawService = fc.record({
  type: odd('ClusterIP', 'NodePort', 'LoadBalancer'),
  clusterIP: fc.constantFrom('10.96.0.1', '10.96.0.1', 'fd00::a', '', undefined),
  clusterIPs: fc.constantFrom(
    undefined,
    undefined,
    undefined,
    null,
    [],
    ['10.96.0.1', 'fd00::a'],
    ['fd00::a'],
  ),
  ipFamilies: fc.constantFrom(undefined, undefined, undefined, null, [], ['IPv4'], ['IPv6', 'IPv4']),
  ports: fc.array(
    fc.record({
      name: odd('http', 'dns'),
      port: fc.constantFrom(80, 53),
      protocol: odd('UDP', 'TCP'),
      nodePort: fc.constantFrom(undefined, null, 0, 30080),
    }),
    { maxLength: 3 },
  ),
});

t.test('every endpoint is a backend, or reported', async (t) => {
  holds(
    t,
    fc.property(fc.option(rawService, { freq: 9 }), fc.array(rawSlice, { maxLength: 3 }), (spec, slices) => {
      const texts = slices.map(({ labels, namespace, ...fields }, index) => {
        const metadata = { name: `web-${index}`, namespace, labels };
        return [`slice${index}`, slice({ ...fields, metadata })] as const;
      });
      const found = read({ ...(spec === null ? {} : { web: service(spec) }), ...Object.fromEntries(texts) });
      const backends = new Set(backendsIn(found));
      const told = (file: string): boolean =>
        found.problems.some(({ where }) => where.startsWith(`${file}:`));
      return slices.every(({ endpoints, ports }, index) => {
        const written = endpoints.flatMap(({ addresses }) =>
          (ports ?? []).map(({ port }) => `${addresses?.[0]?.replace('010', '10') ?? ''}:${port ?? ''}`),
        );
        return written.every((one) => backends.has(one)) || told(`slice${index}`) || told('web');
      });
    }),
    { numRuns: 3_000 },
  );
  t.pass();
});

t.test('the same is reported for objects of an API server, and why nothing is forwarded', async (t) => {
  const parse = (kind: 'Service' | 'EndpointSlice', raw: object) => parseObject(kind, raw).object;
  const web = parse('Service', service({ ports: [{ name: 'http', port: 80 }] })) as ServiceObject;
  const own = parse('EndpointSlice', slice({})) as EndpointSliceObject;
  t.match(findingsOf(web, [own]), [{ object: own, field: 'ports', message: /use one of "http"/ }]);
  t.match(findingsOf(undefined, [own]), [{ object: own, message: /there is no Service shop\/web/ }]);
  t.equal(whyNotForwarded(web), undefined);
  const cases: [object, RegExp][] = [
    [{ type: 'ExternalName' }, /DNS/],
    [{ clusterIP: 'None' }, /headless/],
    [{ clusterIP: '' }, /no ClusterIP/],
    [{ ports: [] }, /no ports/],
  ];
  for (const [spec, reason] of cases)
    t.match(whyNotForwarded(parse('Service', service({ ...http, ...spec })) as ServiceObject), reason);
});
