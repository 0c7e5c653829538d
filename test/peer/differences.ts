// Where Sluice does something else than kube-proxy (nftables mode), and why. Read by the documentation; the test
// beside it fails on a difference that is not listed here, and on one listed that has gone.

export interface Difference {
  /** Which rows of the traffic table: "state internal external, frontend from client, protocol family". */
  readonly rows: RegExp;
  readonly rules: readonly string[];
  readonly what: string;
  readonly reason: string;
}

export const differences: readonly Difference[] = [
  {
    rows: /, localhost from /,
    rules: ['S-57'],
    what: 'NodePorts answer at 127.0.0.1 and [::1], to processes of the node; kube-proxy refuses',
    reason:
      'Registries are pulled from localhost:NODEPORT. kube-proxy has it in its iptables mode alone, and for IPv4 alone.',
  },
  {
    rows: /^(both|draining|hosts) \w+ Local, node[12] from pod[12],/,
    rules: ['S-40', 'S-65', 'S-76'],
    what: 'a pod of another node is served by the endpoints of the node that it asked; kube-proxy may choose any, and the reply is lost',
    reason:
      'kube-proxy takes every address of --cluster-cidr for a pod of its own node and lets it choose from the whole cluster ' +
      'without masquerading; an endpoint on the client’s own node then answers the client directly. Sluice tells its own pods by ' +
      'the device that they send by.',
  },
];
