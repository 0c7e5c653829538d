// kube-proxy's flags and configuration file, and what it leaves behind.
import t from 'tap';
import { defaultOf } from '../../../../src/config/schema.ts';
import { formatConfig } from '../../../../src/config/file.ts';
import { loadConfig, type ConfigSources } from '../../../../src/config/load.ts';
import { removalScript } from '../../../../src/kernel/kubeproxy/iptables.ts';
import { cleanKubeProxy, type RunTool } from '../../../../src/kernel/kubeproxy/leftovers.ts';
import { attributeOf, proxyFlags } from '../../../../src/config/kubeproxy/flags.ts';
import { goSeconds } from '../../../../src/config/kubeproxy/forms.ts';
import { proxyOptions } from '../../../../src/config/kubeproxy/table.ts';

interface Given {
  readonly flags?: Record<string, string>; // by kube-proxy's names
  readonly env?: ConfigSources['env'];
  readonly file?: string;
}

function load({ flags = {}, env = {}, file }: Given) {
  const notes: string[] = [];
  const config = loadConfig({
    flags: Object.fromEntries(Object.entries(flags).map(([flag, value]) => [attributeOf(flag), value])),
    env,
    configFile: file === undefined ? undefined : 'config.conf',
    readFile: () => file ?? '',
    hostname: () => 'host-1',
    note: (text) => notes.push(text),
  });
  return { config, notes };
}

/** As kubeadm puts it into the ConfigMap kube-proxy. */
const kubeadm = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16,fd00:244::/48
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
`;

const file = (fields: string): string =>
  `apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n${fields}`;

t.test("kubeadm's file is read as it is (S-114)", (t) => {
  const { config, notes } = load({ file: kubeadm });
  t.same(config, {
    ...load({}).config,
    kubeconfig: '/var/lib/kube-proxy/kubeconfig.conf',
    clusterCidr: ['10.244.0.0/16', 'fd00:244::/48'],
    detectLocalMode: 'ClusterCIDR',
  });
  t.same(notes, [], 'what says nothing is not spoken of');
  t.equal(
    load({ file: kubeadm.replace(/clusterCIDR: .*/, 'clusterCIDR: ""') }).config.detectLocalMode,
    'Device',
  );
  t.end();
});

t.test('fields of the file map to options (S-115)', (t) => {
  const { config, notes } = load({
    file: file(`
hostnameOverride: Node-7
bindAddress: 192.0.2.7
healthzBindAddress: 192.0.2.7
metricsBindAddress: 0.0.0.0:9000
bindAddressHardFail: true
nodePortAddresses: [192.0.2.0/24, "2001:db8::/32"]
iptables: { masqueradeAll: true, localhostNodePorts: false }
nftables: { masqueradeAll: false }
detectLocalMode: BridgeInterface
detectLocal: { bridgeInterface: cni0 }
conntrack:
  tcpEstablishedTimeout: 12h0m0s
  tcpCloseWaitTimeout: 90m
  udpTimeout: 1.5s
  udpStreamTimeout: 3m0s
  maxPerCore: 32768
mode: nftables
logging: { verbosity: 4 }
featureGates: { TopologyAwareHints: true }
`),
  });
  t.match(config, {
    nodeName: 'node-7',
    nodeAddress: ['192.0.2.7'],
    healthzBindAddress: '192.0.2.7',
    metricsBindAddress: '0.0.0.0:9000',
    bindAddressHardFail: true,
    nodeportAddresses: ['192.0.2.0/24', '2001:db8::/32'],
    masqueradeAll: true,
    localhostNodeports: false,
    detectLocalMode: 'BridgeInterface',
    podBridgeInterface: 'cni0',
    tcpTimeoutEstablished: 43_200,
    tcpTimeoutCloseWait: 5_400,
    udpTimeout: 2,
    udpTimeoutStream: 180,
    logLevel: 'debug',
  });
  t.match(notes, [
    /config.conf:\d+: conntrack.maxPerCore: ignored: Sluice tracks connections in BPF maps/,
    /mode: ignored: Sluice replaces all modes/,
    /featureGates: ignored: .*kube-proxy/,
  ]);
  t.end();
});

t.test('an unknown field is reported and ignored; another format is refused (S-114)', (t) => {
  const { notes } = load({ file: file('bindAdress: 0.0.0.0\nconntrack: { maxPerCor: 7 }\n') });
  t.match(notes, [
    /config.conf:3: bindAdress: ignored: unknown field/,
    /config.conf:4: conntrack.maxPerCor: ignored: unknown field/,
  ]);
  const refused: [string, RegExp][] = [
    [
      'apiVersion: kubeproxy.config.k8s.io/v1\nkind: KubeProxyConfiguration\n',
      /apiVersion: "kubeproxy.*\/v1"/,
    ],
    [
      'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeletConfiguration\n',
      /kind: "KubeletConfiguration"/,
    ],
    ['kind: KubeProxyConfiguration\n', /apiVersion: nothing/],
    [file('conntrack:\n  - 7\n'), /config.conf:3: conntrack/],
    [file('nodePortAddresses: [{a: b}]\n'), /config.conf:3: nodePortAddresses/],
    [file('mode: [[nftables]]\n'), /config.conf:3: mode/],
    [file('bindAddress: a\nbindAddress: b\n'), /config.conf:4: .*unique/],
  ];
  for (const [text, message] of refused)
    t.throws(() => load({ file: text }), { code: 'SLB_E_CONFIG', message });
  t.end();
});

t.test('each bad value is an error that names flag, or field and line (S-116)', (t) => {
  const bad: [flag: string, field: string, value: string][] = [
    ['cluster-cidr', 'clusterCIDR', '10.244.0.0'],
    ['cluster-cidr', 'clusterCIDR', '10.0.0.0/8,11.0.0.0/8'],
    ['nodeport-addresses', 'nodePortAddresses', 'primary,everything'],
    ['nodeport-addresses', 'nodePortAddresses', 'PRIMARY'],
    ['nodeport-addresses', 'nodePortAddresses', '10.0.0.0/33'],
    ['bind-address', 'bindAddress', 'node-7'],
    ['healthz-bind-address', 'healthzBindAddress', '0.0.0.0:99999'],
    ['metrics-bind-address', 'metricsBindAddress', 'example:9'],
    ['detect-local-mode', 'detectLocalMode', 'Guess'],
    ['proxy-mode', 'mode', 'kernelspace'],
    ['conntrack-tcp-timeout-established', 'conntrack.tcpEstablishedTimeout', '-1s'],
    ['conntrack-udp-timeout', 'conntrack.udpTimeout', '30'],
    ['conntrack-max-per-core', 'conntrack.maxPerCore', '-1'],
    ['iptables-masquerade-bit', 'iptables.masqueradeBit', '32'],
    ['iptables-sync-period', 'iptables.syncPeriod', 'often'],
    ['oom-score-adj', 'oomScoreAdj', '1001'],
    ['feature-gates', 'featureGates', 'A=maybe'],
    ['proxy-port-range', 'portRange', 'low-high'],
    ['masquerade-all', 'iptables.masqueradeAll', 'perhaps'],
    ['ipvs-strict-arp', 'ipvs.strictARP', '2'],
  ];
  const nested = (path: string, value: string): string =>
    path
      .split('.')
      .reduceRight((inner, name) => `{ ${name}: ${inner} }`, JSON.stringify(value))
      .slice(2, -2);
  for (const [flag, field, value] of bad) {
    const named = (where: string): RegExp =>
      new RegExp(`${where}: "${value.replace(/[.+]/g, String.raw`\$&`)}" is not allowed`);
    t.throws(() => load({ flags: { [flag]: value } }), { code: 'SLB_E_CONFIG', message: named(`--${flag}`) });
    const text = file(`${nested(field, value)}\n`);
    t.throws(() => load({ file: text }), { code: 'SLB_E_CONFIG', message: named(`config.conf:3: ${field}`) });
  }
  t.throws(() => load({ flags: { 'iptables-sync-period': '5s', 'iptables-min-sync-period': '10s' } }), {
    message: /--iptables-min-sync-period: longer than iptables.syncPeriod/,
  });
  t.throws(() => load({ flags: { 'detect-local-mode': 'BridgeInterface' } }), {
    message: /--pod-bridge-interface/,
  });
  t.end();
});

t.test('every flag of kube-proxy is accepted, and one line lists the ignored ones (S-115)', (t) => {
  const documented =
    'kubeconfig master kube-api-qps kube-api-burst kube-api-content-type hostname-override bind-address ' +
    'healthz-bind-address metrics-bind-address bind-address-hard-fail profiling show-hidden-metrics-for-version ' +
    'cluster-cidr detect-local-mode pod-bridge-interface pod-interface-name-prefix nodeport-addresses masquerade-all ' +
    'iptables-masquerade-bit iptables-localhost-nodeports iptables-sync-period iptables-min-sync-period ' +
    'config-sync-period conntrack-max-per-core conntrack-min conntrack-tcp-timeout-established ' +
    'conntrack-tcp-timeout-close-wait conntrack-tcp-be-liberal conntrack-udp-timeout conntrack-udp-timeout-stream ' +
    'oom-score-adj proxy-mode ipvs-scheduler ipvs-strict-arp ipvs-exclude-cidrs ipvs-sync-period ' +
    'ipvs-min-sync-period ipvs-tcp-timeout ipvs-tcpfin-timeout ipvs-udp-timeout feature-gates v healthz-port ' +
    'metrics-port proxy-port-range boot-id-file machine-id-file windows-service vmodule logging-format ' +
    'log-flush-frequency log-json-info-buffer-size log-json-split-stream log-text-info-buffer-size ' +
    'log-text-split-stream logtostderr alsologtostderr stderrthreshold log-dir log-file log-file-max-size ' +
    'add-dir-header skip-headers skip-log-headers one-output log-backtrace-at';
  const known = new Set(proxyOptions.map(({ flag }) => flag));
  for (const flag of documented.split(' ')) t.ok(known.has(flag), flag);
  t.equal(known.size, new Set(proxyOptions.map(({ flag }) => flag)).size);

  const { config, notes } = load({
    flags: {
      'hostname-override': ' Node-A ',
      'bind-address': '0.0.0.0',
      'proxy-mode': 'iptables',
      'iptables-localhost-nodeports': 'false',
      'conntrack-tcp-timeout-established': '0s',
      'conntrack-tcp-timeout-close-wait': '2h',
      'nftables-masquerade-all': 'true',
      v: '=2',
    },
  });
  t.match(config, {
    nodeName: 'node-a',
    nodeAddress: [],
    localhostNodeports: false,
    tcpTimeoutEstablished: 86_400,
    tcpTimeoutCloseWait: 7_200,
    masqueradeAll: true,
    logLevel: 'info',
  });
  t.match(notes, [/--proxy-mode: ignored: Sluice replaces all modes/]);
  t.equal(load({ flags: { 'cluster-cidr': '10.0.0.0/8' } }).config.detectLocalMode, 'ClusterCIDR');
  t.equal(load({ flags: { v: '6' } }).config.logLevel, 'debug');
  for (const { flag, meaning, form } of proxyFlags) {
    if (!('ignored' in meaning)) continue;
    const value = ['1', '1s', 'true', 'A=true', 'ipvs'].find((one) => (form.read(one) ?? '') !== '') ?? '';
    t.match(load({ flags: { [flag]: value } }).notes, [`--${flag}: ignored: ${meaning.ignored}`], flag);
  }
  t.end();
});

t.test('where NodePorts answer: any mix of words and ranges, in the flag and in the file (S-56)', (t) => {
  const mixes = [
    ['all'],
    ['localhost'],
    ['primary'],
    ['primary', 'localhost'],
    ['localhost', '192.0.2.0/24', 'primary', '2001:db8::/32', '198.51.100.0/24'],
    ['all', '0.0.0.0/0'],
  ];
  for (const mix of mixes) {
    const { config, notes } = load({ file: file(`nodePortAddresses: ${JSON.stringify(mix)}\n`) });
    t.same([config.nodeportAddresses, notes], [mix, []], mix.join());
    t.same(load({ flags: { 'nodeport-addresses': mix.join() } }).config.nodeportAddresses, mix);
    t.same(load({ file: `nodeportAddresses: ${JSON.stringify(mix)}\n` }).config.nodeportAddresses, mix);
  }
  t.end();
});

t.test('a value that kube-proxy accepts never stops the agent from starting (S-115)', (t) => {
  const { notes } = load({
    file: file(`
logging: { vmodule: [{ filePattern: proxier, verbosity: 5 }] }
iptables: { snatNodeInternalIP: true }
windowsRunAsService: true
futureList: [{ a: [1] }, [2]]
future: { deep: [{ b: 1 }] }
featureGates: { AllAlpha: true }
oomScoreAdj: +0x10
`),
  });
  t.match(notes.map((note) => note.replace(/^.*?: /, '')).sort(), [
    /featureGates: ignored/,
    /future.deep: ignored: unknown field/,
    /futureList: ignored: unknown field/,
    /iptables.snatNodeInternalIP: ignored: /,
    /logging.vmodule: ignored/,
    /oomScoreAdj: ignored/,
    /windowsRunAsService: ignored: only for Windows/,
  ]);
  const empty = ['kubeconfig', 'detect-local-mode', 'pod-bridge-interface', 'pod-interface-name-prefix'];
  const spoken = {
    'masquerade-all': 'T',
    'bind-address-hard-fail': 'True',
    'feature-gates': ' A=True, B=0 ',
  };
  const flags = { ...Object.fromEntries(empty.map((flag) => [flag, ''])), ...spoken };
  t.match(load({ flags }).config, { ...load({}).config, masqueradeAll: true, bindAddressHardFail: true });
  t.end();
});

t.test('with a file, flags that have a field there are ignored (S-114)', (t) => {
  const { config, notes } = load({
    file: file('hostnameOverride: a\nclusterCIDR: 10.0.0.0/8\niptables: { masqueradeAll: true }\n'),
    flags: {
      'hostname-override': 'b',
      'cluster-cidr': '11.0.0.0/8',
      'iptables-localhost-nodeports': 'false',
      'masquerade-all': 'false',
      xdp: 'off',
      v: '5',
    },
    env: { SLUICE_MASQUERADE_ALL: 'false' },
  });
  t.match(config, { nodeName: 'b', clusterCidr: ['10.0.0.0/8'], localhostNodeports: true, xdp: 'off' });
  t.equal(config.masqueradeAll, false, 'the environment is ours, and wins over any file');
  t.equal(config.logLevel, 'debug');
  t.same(notes.map((note) => note.split(':')[0]).sort(), [
    '--cluster-cidr',
    '--iptables-localhost-nodeports',
    '--masquerade-all',
  ]);
  const own = load({ file: 'clusterCidr: 10.0.0.0/8\n', flags: { 'cluster-cidr': '11.0.0.0/8' } });
  t.same([own.config.clusterCidr, own.notes], [['11.0.0.0/8'], []], 'beside a file of ours, flags win');
  t.end();
});

t.test('an IPv6 bind address makes it listen over IPv6', (t) => {
  const over6 = { healthzBindAddress: '[::]:10256', metricsBindAddress: '[::1]:10249' };
  t.match(load({ file: file('bindAddress: "::"\n') }).config, { ...over6, nodeAddress: [] });
  t.match(load({ flags: { 'bind-address': '2001:db8::7' } }).config, {
    ...over6,
    nodeAddress: ['2001:db8::7'],
  });
  t.match(load({ flags: { 'bind-address': '::', 'healthz-bind-address': ':1' } }).config, {
    healthzBindAddress: ':1',
  });
  t.end();
});

t.test('options that are written out read back the same', (t) => {
  const flags = {
    'cluster-cidr': '10.0.0.0/8',
    'udp-timeout': '90s',
    devices: '!eth9',
    'masquerade-all': 'true',
  };
  const { config } = load({ flags });
  const text = formatConfig(config, 'Host-1');
  t.same(load({ file: text }).config, config);
  t.notMatch(text, /nodeName/, 'the name of this host is not one for every node');
  t.match(formatConfig(load({ flags: { 'hostname-override': 'a' } }).config, 'host-1'), /nodeName: a/);
  t.end();
});

t.test('durations as Go writes them', (t) => {
  t.same(
    ['1h0m0s', '1.5s', '500ms', '0', '-2m', '+1s', '.5h'].map(goSeconds),
    [3_600, 1.5, 0.5, 0, -120, 1, 1_800],
  );
  t.same(['', '5', 's', '1d', '1h 2m', '1..5s'].map(goSeconds), Array(6).fill(undefined));
  t.equal(defaultOf('tcpTimeoutEstablished'), 86_400, "kube-proxy's");
  t.end();
});

const saved = `# Generated by iptables-nft-save
*filter
:INPUT ACCEPT [1:2]
:KUBE-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ABC - [0:0]
:OTHER - [0:0]
-A PREROUTING -m comment --comment "a \\"portal\\"" -j KUBE-SERVICES
-A PREROUTING -j OTHER
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-ABC
-A OTHER -g KUBE-SVC-ABC
COMMIT
*mangle
:KUBE-IPTABLES-HINT - [0:0]
COMMIT
`;

t.test('iptables chains of kube-proxy are removed, those of others stay (S-107)', (t) => {
  t.same(removalScript(saved.split('\n')), {
    chains: 3,
    script: `*filter
:KUBE-SERVICES - [0:0]
-D INPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-X KUBE-SERVICES
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ABC - [0:0]
-D PREROUTING -m comment --comment "a \\"portal\\"" -j KUBE-SERVICES
-D OTHER -g KUBE-SVC-ABC
-X KUBE-SERVICES
-X KUBE-SVC-ABC
COMMIT
`,
  });
  t.same(removalScript([]), { chains: 0, script: '' });
  t.end();
});

t.test('rules of kube-proxy are removed with the tools at hand (S-107)', (t) => {
  const calls: string[] = [];
  const answers: Record<string, string> = {
    'nft list tables': 'table ip kube-proxy\ntable ip6 kube-proxy\ntable inet filter\n',
    'iptables-nft-save': saved,
    'ip link show kube-ipvs0': 'kube-ipvs0',
    'ipset list -n': 'KUBE-CLUSTER-IP\nother\n',
  };
  const run: RunTool = (program, args) => {
    const line = [program, ...args].join(' ');
    if (program === 'ipvsadm' || program.includes('legacy') || program === 'iptables-save') return undefined;
    if (/list|save|show/.test(line)) return { status: 0, stdout: answers[line] ?? '', stderr: '' };
    calls.push(line);
    const refused = line.includes('destroy');
    return { status: refused ? 1 : 0, stdout: '', stderr: refused ? 'in use\n' : '' };
  };
  t.throws(() => cleanKubeProxy(run), { code: 'SLB_E_CLEAN', message: /ipset KUBE-CLUSTER-IP: in use/ });
  t.same(calls, [
    'nft delete table ip kube-proxy',
    'nft delete table ip6 kube-proxy',
    'iptables-nft-restore --noflush',
    'ip link delete kube-ipvs0',
    'ipset destroy KUBE-CLUSTER-IP',
  ]);
  t.same(
    cleanKubeProxy(() => undefined),
    [],
    'no tools, nothing made with them',
  );
  t.end();
});
