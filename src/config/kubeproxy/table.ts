// Every flag of kube-proxy and every field of its configuration file (S-115): our option, or why it is ignored.
import type { ConfigKey } from '../schema.ts';
import {
  bindAddress,
  bool,
  gates,
  oneOf,
  portRange,
  rate,
  text,
  time,
  verbosity,
  whole,
  type Form,
} from './forms.ts';

export interface ProxyOption {
  readonly flag: string; // without dashes; "" where kube-proxy has a field alone
  readonly field: string; // of KubeProxyConfiguration; "" where it has a flag alone
  readonly form: Form;
  /** Our option, or why there is none. */
  readonly meaning: { readonly to: ConfigKey } | { readonly ignored: string };
  /** kube-proxy takes this flag also when there is a configuration file (S-114). */
  readonly winsOverFile: boolean;
}

function option(flag: string, field: string, form: Form, to: ConfigKey, winsOverFile = false): ProxyOption {
  return { flag, field, form, meaning: { to }, winsOverFile };
}

function ignored(
  why: string,
  form: Form,
  ...names: readonly (readonly [flag: string, field: string])[]
): ProxyOption[] {
  return names.map(([flag, field]) => ({
    flag,
    field,
    form,
    meaning: { ignored: why },
    winsOverFile: false,
  }));
}

const count = whole(0, 2 ** 31 - 1);
const port = whole(0, 65_535);
const maskBit = whole(0, 31);

const modes = ['ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'];

const mapped: readonly ProxyOption[] = [
  option('kubeconfig', 'clientConnection.kubeconfig', text, 'kubeconfig'),
  option('hostname-override', 'hostnameOverride', text, 'nodeName', true),
  option('bind-address', 'bindAddress', bindAddress, 'nodeAddress'),
  option('healthz-bind-address', 'healthzBindAddress', text, 'healthzBindAddress'),
  option('metrics-bind-address', 'metricsBindAddress', text, 'metricsBindAddress'),
  option('bind-address-hard-fail', 'bindAddressHardFail', bool, 'bindAddressHardFail'),
  option('cluster-cidr', 'clusterCIDR', text, 'clusterCidr'),
  option('detect-local-mode', 'detectLocalMode', oneOf(...modes), 'detectLocalMode'),
  option('pod-bridge-interface', 'detectLocal.bridgeInterface', text, 'podBridgeInterface'),
  option('pod-interface-name-prefix', 'detectLocal.interfaceNamePrefix', text, 'podInterfaceNamePrefix'),
  option('nodeport-addresses', 'nodePortAddresses', text, 'nodeportAddresses'),
  option('masquerade-all', 'iptables.masqueradeAll', bool, 'masqueradeAll'),
  option('iptables-masquerade-all', '', bool, 'masqueradeAll'),
  option('nftables-masquerade-all', 'nftables.masqueradeAll', bool, 'masqueradeAll'),
  option('iptables-localhost-nodeports', 'iptables.localhostNodePorts', bool, 'localhostNodeports'),
  option(
    'conntrack-tcp-timeout-established',
    'conntrack.tcpEstablishedTimeout',
    time,
    'tcpTimeoutEstablished',
  ),
  option('conntrack-tcp-timeout-close-wait', 'conntrack.tcpCloseWaitTimeout', time, 'tcpTimeoutCloseWait'),
  option('conntrack-udp-timeout', 'conntrack.udpTimeout', time, 'udpTimeout'),
  option('conntrack-udp-timeout-stream', 'conntrack.udpStreamTimeout', time, 'udpTimeoutStream'),
  option('v', 'logging.verbosity', verbosity, 'logLevel', true),
];

const noNetfilter = 'Sluice adds no netfilter rules and sets no packet marks';
const noPeriods = 'changes are written at once, and the maps are compared with the kernel every minute';
const noIpvs = 'Sluice does not use IPVS';
const noConntrack = 'Sluice tracks connections in BPF maps: see --max-flows';
const noLogging = 'Sluice writes JSON lines to stderr: see --log-level';
const oldFlag = 'removed from kube-proxy too';
const noWindows = 'only for Windows';

const rest: readonly ProxyOption[] = [
  ...ignored('Sluice replaces all modes of kube-proxy', oneOf('iptables', 'ipvs', 'nftables'), [
    'proxy-mode',
    'mode',
  ]),
  ...ignored('the address of the API server is taken from the kubeconfig', text, ['master', '']),
  ...ignored('a watch of three kinds needs no limit', rate, ['kube-api-qps', 'clientConnection.qps']),
  ...ignored('a watch of three kinds needs no limit', count, ['kube-api-burst', 'clientConnection.burst']),
  ...ignored(
    'Sluice uses JSON with the API server',
    text,
    ['kube-api-content-type', 'clientConnection.contentType'],
    ['', 'clientConnection.acceptContentTypes'],
  ),
  ...ignored('the kubelet sets it from the QoS class of the pod', whole(-1000, 1000), [
    'oom-score-adj',
    'oomScoreAdj',
  ]),
  ...ignored('use node --inspect instead', bool, ['profiling', 'enableProfiling']),
  ...ignored('Sluice hides no metrics', text, [
    'show-hidden-metrics-for-version',
    'showHiddenMetricsForVersion',
  ]),
  ...ignored('feature gates of kube-proxy have no effect on Sluice', gates, [
    'feature-gates',
    'featureGates',
  ]),
  ...ignored(noPeriods, time, ['config-sync-period', 'configSyncPeriod']),
  ...ignored(
    noPeriods,
    time,
    ['iptables-sync-period', 'iptables.syncPeriod'],
    ['iptables-min-sync-period', 'iptables.minSyncPeriod'],
    ['', 'nftables.syncPeriod'],
    ['', 'nftables.minSyncPeriod'],
  ),
  ...ignored(
    noNetfilter,
    maskBit,
    ['iptables-masquerade-bit', 'iptables.masqueradeBit'],
    ['', 'nftables.masqueradeBit'],
  ),
  ...ignored(
    noIpvs,
    time,
    ['ipvs-sync-period', 'ipvs.syncPeriod'],
    ['ipvs-min-sync-period', 'ipvs.minSyncPeriod'],
    ['ipvs-tcp-timeout', 'ipvs.tcpTimeout'],
    ['ipvs-tcpfin-timeout', 'ipvs.tcpFinTimeout'],
    ['ipvs-udp-timeout', 'ipvs.udpTimeout'],
  ),
  ...ignored(noIpvs, text, ['ipvs-scheduler', 'ipvs.scheduler'], ['ipvs-exclude-cidrs', 'ipvs.excludeCIDRs']),
  ...ignored(noIpvs, bool, ['ipvs-strict-arp', 'ipvs.strictARP']),
  ...ignored(
    noConntrack,
    count,
    ['conntrack-max-per-core', 'conntrack.maxPerCore'],
    ['conntrack-min', 'conntrack.min'],
  ),
  ...ignored(noConntrack, bool, ['conntrack-tcp-be-liberal', 'conntrack.tcpBeLiberal']),
  ...ignored(
    noLogging,
    text,
    ['vmodule', 'logging.vmodule'],
    ['logging-format', 'logging.format'],
    ['log-flush-frequency', 'logging.flushFrequency'],
    ['log-json-info-buffer-size', 'logging.options.json.infoBufferSize'],
    ['log-text-info-buffer-size', 'logging.options.text.infoBufferSize'],
  ),
  ...ignored(
    noLogging,
    bool,
    ['log-json-split-stream', 'logging.options.json.splitStream'],
    ['log-text-split-stream', 'logging.options.text.splitStream'],
    ['logtostderr', ''],
    ['alsologtostderr', ''],
    ['add-dir-header', ''],
    ['skip-headers', ''],
    ['skip-log-headers', ''],
    ['one-output', ''],
  ),
  ...ignored(
    noLogging,
    text,
    ['stderrthreshold', ''],
    ['log-dir', ''],
    ['log-file', ''],
    ['log-file-max-size', ''],
    ['log-backtrace-at', ''],
  ),
  ...ignored('Sluice does not use boot or machine ids', text, ['boot-id-file', ''], ['machine-id-file', '']),
  ...ignored('the route to the backend decides the source of masqueraded packets', bool, [
    '',
    'iptables.snatNodeInternalIP',
  ]),
  ...ignored(oldFlag, port, ['healthz-port', ''], ['metrics-port', '']),
  ...ignored(oldFlag, portRange, ['proxy-port-range', 'portRange']),
  ...ignored(
    noWindows,
    text,
    ['network-name', 'winkernel.networkName'],
    ['source-vip', 'winkernel.sourceVip'],
    ['root-hnsendpoint-name', 'winkernel.rootHnsEndpointName'],
  ),
  ...ignored(
    noWindows,
    bool,
    ['windows-service', 'windowsRunAsService'],
    ['enable-dsr', 'winkernel.enableDSR'],
    ['forward-healthcheck-vip', 'winkernel.forwardHealthCheckVip'],
  ),
];

export const proxyOptions: readonly ProxyOption[] = Object.freeze([...mapped, ...rest]);
