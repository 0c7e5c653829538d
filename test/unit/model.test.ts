// The model room: addresses, endpoints, topology, and the service ports built from them. Rules of the Kubernetes
// service semantics are named S-n.
import t from 'tap';
import fc from 'fast-check';
import { isIPv4, isIPv6 } from 'node:net';
import { buildServicePorts } from '../../src/model/build.ts';
import { canonicalAddress, familyOf, formatAddress, parseAddress } from '../../src/model/ip.ts';
import type { EndpointObject, EndpointSliceObject, ServiceObject } from '../../src/source/objects.ts';
import { endpoint, meta, service, slice } from '../support/objects.ts';

const here = { name: 'node-a', zone: 'west' };
const web = service('web', ['10.96.0.1']);

function selected(
  slices: readonly EndpointSliceObject[],
  object: ServiceObject = web,
  node = here,
): string[] {
  return buildServicePorts(object, slices, node).flatMap((port) =>
    port.selected.map((one) => `${one.address}:${one.port}`),
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

t.test('every address the runtime knows is read alike, and survives bytes and back', async (t) => {
  fc.assert(
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

t.test('a service port for each port and family (S-8, S-9)', async (t) => {
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

t.test('one endpoint in two slices: the live one counts, once, in any order (S-28)', async (t) => {
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

t.test('who may receive (S-34, S-36, S-44)', async (t) => {
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
    ['nobody', [], [], false],
  ];
  for (const [what, endpoints, expected, any] of cases) {
    const slices = [slice('a', 'web', endpoints, { addressType: 'IPv4' })];
    t.same(selected(slices), expected, what);
    t.equal(buildServicePorts(web, slices, here)[0]?.anyEndpoint, any, what);
  }
});

t.test('internalTrafficPolicy Local (S-10, S-35, S-43)', async (t) => {
  const local = service('web', ['10.96.0.1'], { internalTrafficPolicy: 'Local' });
  const mine = (address: string, more = {}) => endpoint(address, { nodeName: 'node-a', ...more });
  const far = endpoint('10.0.0.9', { nodeName: 'node-b' });
  t.same(selected([slice('a', 'web', [mine('10.0.0.1'), far])], local), ['10.0.0.1:8080']);
  t.same(
    selected([slice('a', 'web', [mine('10.0.0.1', leaving), far])], local),
    ['10.0.0.1:8080'],
    'although far ones are ready',
  );
  const none = buildServicePorts(local, [slice('a', 'web', [far, endpoint('10.0.0.8')])], here)[0];
  t.same(none?.selected, [], 'no node name is local nowhere (S-27)');
  t.ok(none?.anyEndpoint, 'to be dropped, not refused');
});

t.test('topology hints (S-37)', async (t) => {
  const zone = (address: string, ...zoneHints: string[]) => endpoint(address, { zoneHints });
  const both = (address: string, node: string, hint: string) =>
    endpoint(address, { nodeHints: [node], zoneHints: [hint] });
  const cases: readonly [string, readonly EndpointObject[], readonly number[], typeof here][] = [
    ['own zone', [zone('10.0.0.1', 'west'), zone('10.0.0.2', 'east')], [1], here],
    ['several hints', [zone('10.0.0.1', 'east', 'west'), zone('10.0.0.2', 'east')], [1], here],
    ['one without a hint switches it off', [zone('10.0.0.1', 'west'), zone('10.0.0.2')], [1, 2], here],
    ['nobody for us', [zone('10.0.0.1', 'east'), zone('10.0.0.2', 'east')], [1, 2], here],
    [
      'zone unknown',
      [zone('10.0.0.1', 'west'), zone('10.0.0.2', 'east')],
      [1, 2],
      { name: 'node-a', zone: '' },
    ],
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

t.test('the order of slices and endpoints is nothing', async (t) => {
  const all = ['10.0.0.10', '10.0.0.9', '10.0.0.1'].map((one) => endpoint(one));
  const one = buildServicePorts(web, [slice('a', 'web', all)], here);
  const two = buildServicePorts(
    web,
    [slice('b', 'web', all.slice(1)), slice('a', 'web', all.slice(0, 1))],
    here,
  );
  t.same(one, two);
});
