// The output of iptables-save → an iptables-restore script that removes the chains of kube-proxy and nothing else.
// Pure.

const names = new Set(
  [
    'SERVICES EXTERNAL-SERVICES NODEPORTS POSTROUTING MARK-MASQ FORWARD PROXY-FIREWALL PROXY-CANARY',
    'NODE-PORT LOAD-BALANCER SOURCE-RANGES-FIREWALL IPVS-FILTER IPVS-OUT-FILTER',
  ]
    .join(' ')
    .split(' ')
    .map((name) => `KUBE-${name}`),
);
const families = /^KUBE-(?:SVC|SVL|EXT|FW|SEP)-/;

/** Not the chains of the kubelet: KUBE-KUBELET-CANARY, KUBE-FIREWALL, KUBE-IPTABLES-HINT. */
function isProxyChain(chain: string): boolean {
  return names.has(chain) || families.test(chain);
}

interface Table {
  readonly name: string;
  readonly chains: string[];
  readonly jumps: string[]; // rules of other chains that jump to these, without "-A "
}

export interface Removal {
  readonly script: string;
  readonly chains: number;
}

/** One COMMIT per table: all of its chains are removed, or none. */
export function removalScript(saved: readonly string[]): Removal {
  const tables = tablesOf(saved).filter(({ chains }) => chains.length > 0);
  const script = tables
    .flatMap(({ name, chains, jumps }) => [
      `*${name}`,
      ...chains.map((chain) => `:${chain} - [0:0]`), // declaring a chain flushes it
      ...jumps.map((rule) => `-D ${rule}`),
      ...chains.map((chain) => `-X ${chain}`),
      'COMMIT',
    ])
    .map((line) => `${line}\n`)
    .join('');
  return { script, chains: tables.reduce((sum, { chains }) => sum + chains.length, 0) };
}

function tablesOf(saved: readonly string[]): Table[] {
  const tables: Table[] = [];
  for (const line of saved) {
    const table = tables.at(-1);
    if (line.startsWith('*')) tables.push({ name: line.slice(1), chains: [], jumps: [] });
    else if (line.startsWith(':')) {
      const chain = /^:(\S+)/.exec(line)?.[1] ?? '';
      if (isProxyChain(chain)) table?.chains.push(chain);
    } else if (line.startsWith('-A ')) {
      const [, chain = ''] = /^-A (\S+)/.exec(line) ?? [];
      const [, target = ''] = / -[jg] (\S+)/.exec(line) ?? [];
      if (isProxyChain(target) && !isProxyChain(chain)) table?.jumps.push(line.slice(3));
    }
  }
  return tables;
}
