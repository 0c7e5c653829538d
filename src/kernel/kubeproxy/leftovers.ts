// Removes what kube-proxy leaves on a node (S-107): its rules would go on translating. Uses the tools that kube-proxy
// uses. If a tool is not installed, kube-proxy cannot have used it.
import { spawnSync } from 'node:child_process';
import { SluiceError } from '../../errors.ts';
import { removalScript } from './iptables.ts';

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** undefined: no such program. */
export type RunTool = (program: string, args: readonly string[], input?: string) => Ran | undefined;

const runTool: RunTool = (program, args, input = '') => {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    input,
    encoding: 'utf8',
    maxBuffer: 2 ** 30, // large clusters have hundreds of thousands of rules
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return undefined;
  return { status: status ?? -1, stdout, stderr: error?.message ?? stderr };
};

/** Returns what it removed. Removes as much as it can, and then throws SLB_E_CLEAN for the rest. */
export function cleanKubeProxy(run: RunTool = runTool): readonly string[] {
  const removed: string[] = [];
  const failed: string[] = [];
  const remove = (what: string, program: string, args: readonly string[], input?: string): void => {
    const ran = run(program, args, input);
    if (ran?.status === 0) removed.push(what);
    else failed.push(`${what}: ${ran?.stderr.trim() ?? `no ${program}`}`);
  };
  for (const step of [cleanNftables, cleanIptables, cleanIpvs, cleanIpsets]) step(run, remove);
  if (failed.length > 0) throw new SluiceError('SLB_E_CLEAN', failed.join('; '));
  return removed;
}

type Remove = (what: string, program: string, args: readonly string[], input?: string) => void;

function linesOf(ran: Ran | undefined): string[] {
  return ran?.status === 0 ? ran.stdout.split('\n') : [];
}

function cleanNftables(run: RunTool, remove: Remove): void {
  for (const line of linesOf(run('nft', ['list', 'tables']))) {
    const [, family, name] = /^table (ip6?) (kube-proxy)$/.exec(line) ?? [];
    if (family !== undefined && name !== undefined)
      remove(`nftables table ${family} ${name}`, 'nft', ['delete', 'table', family, name]);
  }
}

/** Both iptables-nft and iptables-legacy may have rules. Plain iptables is used if neither name exists. */
function cleanIptables(run: RunTool, remove: Remove): void {
  for (const family of ['iptables', 'ip6tables']) {
    const saves = [`${family}-nft`, `${family}-legacy`, family].map(
      (program) => [program, run(`${program}-save`, [])] as const,
    );
    const explicit = saves.slice(0, 2).filter(([, saved]) => saved !== undefined);
    for (const [program, saved] of explicit.length > 0 ? explicit : saves.slice(2)) {
      const { script, chains } = removalScript(linesOf(saved));
      if (chains === 0) continue;
      remove(`${String(chains)} chains of ${program}`, `${program}-restore`, ['--noflush'], script);
    }
  }
}

const ipvsDevice = 'kube-ipvs0';

/** Without the device kube-proxy has no IPVS virtual servers. */
function cleanIpvs(run: RunTool, remove: Remove): void {
  if (run('ip', ['link', 'show', ipvsDevice])?.status !== 0) return;
  if (run('ipvsadm', ['--version']) !== undefined) remove('virtual servers of IPVS', 'ipvsadm', ['--clear']);
  remove(`device ${ipvsDevice}`, 'ip', ['link', 'delete', ipvsDevice]);
}

/** Must run after the rules that use them are removed. */
function cleanIpsets(run: RunTool, remove: Remove): void {
  for (const name of linesOf(run('ipset', ['list', '-n']))) {
    if (name.startsWith('KUBE-')) remove(`ipset ${name}`, 'ipset', ['destroy', name]);
  }
}
