import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { defaultOf, options } from '../../../src/config/schema.ts';
import { loadConfig, type ConfigSources } from '../../../src/config/load.ts';
import { listen } from '../../../src/observe/channels.ts';
import { watchConfig } from '../../../src/config/watch.ts';
import { joinHostPort, parseHostPort } from '../../../src/net/hostport.ts';
import {
  exactDuration,
  formatBytes,
  formatCount,
  formatDuration,
  parseDuration,
} from '../../../src/units.ts';

function load(changes: { flags?: ConfigSources['flags']; env?: ConfigSources['env']; file?: string } = {}) {
  return loadConfig({
    flags: changes.flags ?? {},
    env: changes.env ?? {},
    configFile: changes.file === undefined ? undefined : 'sluice.yaml',
    readFile: () => changes.file ?? '',
    hostname: () => 'Host-1',
  });
}

t.test('defaults are the documented ones, and the configuration is frozen', (t) => {
  const config = load();
  t.match(config, {
    nodeName: 'host-1',
    nodeAddress: [],
    devices: [],
    xdp: 'auto',
    apiAddress: '127.0.0.1:9961',
    healthzBindAddress: '0.0.0.0:10256',
    metricsBindAddress: '127.0.0.1:10249',
    bpffs: '/sys/fs/bpf/sluice',
    cgroup: 'auto',
  });
  t.match(
    config,
    { tcpTimeoutEstablished: 86_400, tcpTimeoutCloseWait: 3_600 },
    'as kube-proxy sets them (S-109a)',
  );
  t.equal(config.manifests, undefined);
  t.ok(Object.isFrozen(config));
  t.ok(Object.isFrozen(config.devices));
  t.end();
});

t.test('a flag wins over the environment, the environment over the file, the file over the default', (t) => {
  const file = 'logLevel: warn\nxdp: off\nmaxServices: 4096\n';
  const env = { SLUICE_XDP: 'native', SLUICE_LOG_LEVEL: 'error' };
  const config = load({ flags: { logLevel: 'debug' }, env, file });
  t.equal(config.logLevel, 'debug');
  t.equal(config.xdp, 'native');
  t.equal(config.maxServices, 4_096);
  t.equal(
    load({ env: { SLUICE_CONFIG: 'sluice.yaml' } }).xdp,
    'auto',
    'the file may be named in the environment',
  );
  t.end();
});

t.test('text becomes values: lists, times, counts, addresses', (t) => {
  const config = load({
    flags: { devices: 'eth*, !eth9', udpTimeout: '1m30s', maxFlows: '1024', healthzBindAddress: '' },
    env: { SLUICE_NODE_ADDRESS: '192.0.2.1,2001:db8::1', SLUICE_METRICS_BIND_ADDRESS: '[::]:10249' },
    file: 'tcpTimeoutEstablished: 2h\n',
  });
  t.same(config.devices, ['eth*', '!eth9']);
  t.same(config.nodeAddress, ['192.0.2.1', '2001:db8::1']);
  t.equal(config.udpTimeout, 90);
  t.equal(config.maxFlows, 1_024);
  t.equal(config.healthzBindAddress, '');
  t.equal(config.metricsBindAddress, '[::]:10249');
  t.equal(config.tcpTimeoutEstablished, 7_200);
  t.same(
    load({ file: 'devices: [eth0, "!eth1"]\n' }).devices,
    ['eth0', '!eth1'],
    'a list may be a list in the file',
  );
  t.same(load({ file: '# nothing yet\n' }).devices, []);
  t.end();
});

t.test('switches are true, false or default; ranges are one a family', (t) => {
  t.match(load(), { masqueradeAll: false, localhostNodeports: true, detectLocalMode: 'Device' });
  t.match(load({ flags: { masqueradeAll: 'true', localhostNodeports: 'false' } }), {
    masqueradeAll: true,
    localhostNodeports: false,
  });
  t.equal(load({ file: 'masqueradeAll: true\n' }).masqueradeAll, true, 'YAML has switches of its own');
  const flags = { detectLocalMode: 'ClusterCIDR', clusterCidr: '10.244.0.0/16,fd00::/48' };
  t.same(load({ flags }).clusterCidr, ['10.244.0.0/16', 'fd00::/48']);
  t.same(load({ flags: { nodeportAddresses: 'primary' } }).nodeportAddresses, ['primary']);
  t.end();
});

t.test('a renamed value works by its old and its new name, the old one with a warning', (t) => {
  const readWith = (sources: Partial<ConfigSources>): readonly [string, readonly string[]] => {
    const warned: string[] = [];
    const config = loadConfig({
      ...{ flags: {}, env: {}, configFile: undefined, readFile: () => 'unservedPorts: refuse\n' },
      hostname: () => 'host',
      deprecated: (text) => warned.push(text),
      ...sources,
    });
    return [config.unservedPorts, warned];
  };
  const warning = ': "refuse" is deprecated: use "reject"';
  t.same(readWith({ flags: { unservedPorts: 'reject' } }), ['reject', []]);
  t.same(readWith({ flags: { unservedPorts: 'refuse' } }), ['reject', [`--unserved-ports${warning}`]]);
  t.same(readWith({ env: { SLUICE_UNSERVED_PORTS: 'refuse' } }), [
    'reject',
    [`SLUICE_UNSERVED_PORTS${warning}`],
  ]);
  t.same(readWith({ configFile: 'a.yaml' }), ['reject', [`a.yaml:1: unservedPorts${warning}`]]);
  t.same(
    readWith({ configFile: 'a.yaml', flags: { unservedPorts: 'drop' } }),
    ['drop', []],
    'no warning for a value that another one overrides',
  );
  t.throws(() => readWith({ flags: { unservedPorts: 'constructor' } }), { code: 'SLB_E_CONFIG' });
  t.end();
});

t.test('S-110: the node name is trimmed and lower-cased, and never empty', (t) => {
  t.equal(load({ flags: { nodeName: ' Node-A ' } }).nodeName, 'node-a');
  t.throws(() => load({ flags: { nodeName: '  ' } }), { code: 'SLB_E_CONFIG' });
  t.end();
});

t.test('the API listens at every address only where that is configured', (t) => {
  for (const apiAddress of ['0.0.0.0:9961', '[::]:9961', '::', '::1', '192.0.2.1', 'localhost:9961', '']) {
    t.equal(load({ flags: { apiAddress } }).apiAddress, apiAddress);
  }
  t.throws(() => load({ env: { SLUICE_API_ADDRESS: ':0' } }), { code: 'SLB_E_CONFIG' });
  t.throws(() => load({ file: 'apiAddress: ":9961"\n' }), { code: 'SLB_E_CONFIG' });
  t.equal(load({ flags: { healthzBindAddress: ':10256' } }).healthzBindAddress, ':10256', 'as kube-proxy');
  t.end();
});

t.test('errors name the source, the value and what is allowed', (t) => {
  const refused: [string, Parameters<typeof load>[0], string[]][] = [
    ['flag', { flags: { xdp: 'fast' } }, ['--xdp', '"fast"', 'auto, native, generic, off']],
    [
      'environment',
      { env: { SLUICE_MAX_FLOWS: '1e9' } },
      ['SLUICE_MAX_FLOWS', '"1e9"', 'whole number from 16 to'],
    ],
    [
      'file',
      { file: 'xdp: auto\n\nudpTimeout: 90\n' },
      ['sluice.yaml:3: udpTimeout', '"90"', '90s, 15m or 24h'],
    ],
    [
      'unknown key',
      { file: 'xdp: auto\nnodename: a\n' },
      ['sluice.yaml:2', '"nodename"', 'did you mean nodeName?'],
    ],
    ['no such key', { file: 'colour: red\n' }, ['sluice.yaml:1', '"colour"', 'known are manifests']],
    ['no value', { file: 'xdp:\n' }, ['sluice.yaml:1', 'xdp', 'auto, native']],
    ['a map for a text', { file: 'xdp: {a: b}\n' }, ['sluice.yaml:1', 'xdp']],
    ['a key twice', { file: 'xdp: auto\nxdp: off\n' }, ['sluice.yaml:2', 'unique']],
    ['not YAML', { file: 'xdp: [auto\n' }, ['sluice.yaml:']],
    ['not a map', { file: '- xdp\n' }, ['sluice.yaml:1']],
    ['too long a time', { flags: { udpTimeout: '8d' } }, ['--udp-timeout', '"8d"', 'to 168h']],
    ['zero time', { flags: { udpTimeout: '0s' } }, ['--udp-timeout', '"0s"']],
    ['a name for an address', { flags: { apiAddress: 'example.com:1' } }, ['--api-address', 'ADDRESS:PORT']],
    [
      'the API at every address, by a slip',
      { flags: { apiAddress: ':9961' } },
      ['--api-address', '":9961"', '127.0.0.1:9961', '0.0.0.0:9961 or [::]:9961 for every address'],
    ],
    ['port', { flags: { apiAddress: '127.0.0.1:65536' } }, ['--api-address', '65536']],
    ['empty member', { flags: { devices: 'eth0,,eth1' } }, ['--devices', 'eth0,,eth1']],
    ['node address', { flags: { nodeAddress: 'node-a' } }, ['--node-address', 'node-a']],
    ['two sources', { flags: { manifests: 'a', kubeconfig: 'b' } }, ['--manifests and --kubeconfig']],
    [
      'switch',
      { env: { SLUICE_MASQUERADE_ALL: 'yes' } },
      ['SLUICE_MASQUERADE_ALL', '"yes"', 'true or false'],
    ],
    ['ports', { flags: { snatPorts: '2000-1000' } }, ['--snat-ports', '2000-1000', 'lower one first']],
    ['range', { flags: { clusterCidr: '10.0.0.0' } }, ['--cluster-cidr', '"10.0.0.0"', '10.244.0.0/16']],
    [
      'range of NodePorts',
      { file: 'nodeportAddresses: [10.0.0.0/33]\n' },
      ['sluice.yaml:1: nodeportAddresses', '10.0.0.0/33'],
    ],
    [
      'a word that means nothing',
      { flags: { nodeportAddresses: 'primary,10.0.0.0/8,elsewhere' } },
      ['--nodeport-addresses', 'the words primary, localhost and all'],
    ],
    [
      'two ranges of a family',
      { flags: { clusterCidr: '10.0.0.0/8,11.0.0.0/8' } },
      ['--cluster-cidr', 'one a family'],
    ],
    ['no bridge', { flags: { detectLocalMode: 'BridgeInterface' } }, ['--detect-local-mode', 'bridge']],
    ['no prefix', { flags: { detectLocalMode: 'InterfaceNamePrefix' } }, ['--detect-local-mode', 'prefix']],
    ['relative bpffs', { flags: { bpffs: 'pins' } }, ['--bpffs', 'absolute']],
  ];
  for (const [name, changes, parts] of refused) {
    try {
      load(changes);
      t.fail(name);
    } catch (error) {
      t.equal((error as { code: string }).code, 'SLB_E_CONFIG', name);
      for (const part of parts) t.ok(String(error).includes(part), `${name}: ${String(error)} names ${part}`);
    }
  }
  t.throws(
    () =>
      loadConfig({
        flags: {},
        env: {},
        configFile: '/nowhere',
        readFile: () => {
          throw new Error('ENOENT: /nowhere');
        },
        hostname: () => 'a',
      }),
    { code: 'SLB_E_CONFIG', message: /--config: ENOENT/ },
  );
  t.end();
});

t.test('every option has a flag, an environment name and a text, and its default is allowed', (t) => {
  for (const option of options) {
    t.match(option.flag, /^--[a-z]+(-[a-z]+)*$/, option.key);
    t.equal(option.env, `SLUICE_${option.flag.slice(2).replaceAll('-', '_').toUpperCase()}`);
    t.ok(option.description.length > 10 && option.fallback !== '' && option.allowed !== '', option.key);
    const value = defaultOf(option.key);
    const unset = value === undefined || (Array.isArray(value) && value.length === 0);
    if (!unset)
      t.same(load({ flags: { [option.key]: option.fallback } }), load(), `${option.flag} ${option.fallback}`);
  }
  t.end();
});

t.test('durations', (t) => {
  t.same(['24h', '1h30m', '90s', '2d'].map(parseDuration), [86_400, 5_400, 90, 172_800]);
  t.same(['', '90', '-1s', '1.5h', 'h', '1 h', '1w'].map(parseDuration), Array(7).fill(undefined));
  t.same([0, 0.9, 59, 192, 3_600, 3_605, 90_061].map(formatDuration), [
    '0s',
    '0s',
    '59s',
    '3m12s',
    '1h',
    '1h',
    '1d1h',
  ]);
  for (const seconds of [1, 59, 60, 90, 3_600, 86_400, 5_400])
    t.equal(parseDuration(exactDuration(seconds)), seconds);
  t.end();
});

t.test('sizes and counts', (t) => {
  t.same([0, 999, 1_000, 1_234_567, 99_950_000, 1e9].map(formatBytes), [
    '0 B',
    '999 B',
    '1.0 kB',
    '1.2 MB',
    '100 MB',
    '1.0 GB',
  ]);
  t.same([0, 999_999, 1_234_567, 12_345_678].map(formatCount), ['0', '999999', '1.23M', '12.3M']);
  t.end();
});

t.test('addresses to listen on', (t) => {
  const parse = (text: string) => parseHostPort(text, 7);
  t.same(parse('127.0.0.1:9961'), { host: '127.0.0.1', port: 9_961 });
  t.same(parse('[::]:10256'), { host: '::', port: 10_256 });
  t.same(parse('::1'), { host: '::1', port: 7 }, 'S-98: without a port the default one');
  t.same(parse('[::1]'), { host: '::1', port: 7 });
  t.same(parse('10.0.0.1'), { host: '10.0.0.1', port: 7 });
  t.same(parse('localhost:1'), { host: 'localhost', port: 1 });
  t.same(parse(':80'), { host: '::', port: 80 });
  t.same(
    ['', 'a:b', '[1.2.3.4]:5', '1.2.3.4:99999', '1.2.3:4', '[::1', '::1:99999:x'].map(parse),
    Array(7).fill(undefined),
  );
  t.equal(joinHostPort('::1', 5), '[::1]:5');
  t.equal(joinHostPort('1.2.3.4', 5), '1.2.3.4:5');
  t.end();
});

t.test('a changed configuration file is reported once, an invalid one is refused (S-108)', async (t) => {
  const path = join(t.testdir({ 'sluice.yaml': 'xdp: off\n' }), 'sluice.yaml');
  const text = () => readFileSync(path, 'utf8');
  const reload = () => load({ file: text() });
  const refused: string[] = [];
  let heard: (() => void) | undefined;
  t.teardown(
    listen('config.refused', ({ error }) => {
      refused.push(String(error));
      heard?.();
    }),
  );
  const config = reload();
  let changes = 0;
  const changed = new Promise<void>((resolve) => {
    const stop = watchConfig(
      config,
      { path, text, reload },
      () => {
        changes++;
        resolve();
      },
      10,
    );
    t.teardown(stop);
  });
  // Watching is no reason for a process to live; here something waits for it.
  const awake = setInterval(() => undefined, 1_000);
  t.teardown(() => clearInterval(awake));
  const broken = new Promise<void>((resolve) => (heard = resolve));
  writeFileSync(path, 'xdp: fast\n');
  await broken;
  t.match(refused, [/"fast" is not allowed/]);
  t.equal(changes, 0);
  renameSync(path, `${path}.old`);
  writeFileSync(`${path}.new`, '# as before\nxdp: native # but for this\n');
  renameSync(`${path}.new`, path);
  await changed;
  t.equal(changes, 1);
});
