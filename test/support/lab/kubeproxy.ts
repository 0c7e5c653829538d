// The real kube-proxy on a node of the lab, beside which Sluice is compared.
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { kubeBinaries } from '../kube/kubebin.ts';
import type { LabNode } from './lab.ts';
import { ownFolder } from '../run/owner.ts';
import { end, isRunning, until } from '../run/process.ts';

const metrics = 'http://127.0.0.1:10249/metrics';

export class KubeProxy {
  readonly #node: LabNode;
  readonly #logFile: string;
  readonly #child: ChildProcess;

  private constructor(node: LabNode, flags: readonly string[]) {
    this.#node = node;
    this.#logFile = join(ownFolder('kube-proxy'), 'log');
    const log = openSync(this.#logFile, 'a');
    this.#child = node.netns.spawn([join(kubeBinaries(), 'kube-proxy'), ...flags], {
      stdio: ['ignore', log, log],
    });
    closeSync(log);
  }

  /** Starts it in nftables mode, and waits until both families have been written. */
  static async start(node: LabNode, kubeconfig: string): Promise<KubeProxy> {
    const proxy = new KubeProxy(node, [
      `--kubeconfig=${kubeconfig}`,
      `--hostname-override=${node.name}`,
      '--proxy-mode=nftables',
      '--cluster-cidr=10.244.0.0/16,fd00:244::/32',
      // A namespace may not change the machine's limits.
      ...['--conntrack-max-per-core=0', '--conntrack-min=0'],
      ...['--conntrack-tcp-timeout-established=0', '--conntrack-tcp-timeout-close-wait=0'],
    ]);
    await proxy.untilWritten();
    return proxy;
  }

  /** Waits for a write that began after this call. */
  async untilWritten(): Promise<void> {
    const before = await this.#writes();
    await until('kube-proxy', async () => {
      if (!isRunning(this.#child)) throw new Error(`kube-proxy has ended:\n${this.#lastWords()}`);
      const now = await this.#writes();
      return now.every((count, i) => count > (before[i] ?? 0)) && now.length === 2 ? true : undefined;
    });
  }

  /** How many times it has written its rules, per family. */
  async #writes(): Promise<number[]> {
    const { body } = await this.#node.actor.call('http', { url: metrics }).catch(() => ({ body: '' }));
    const counts = body.matchAll(/^kubeproxy_sync_proxy_rules_duration_seconds_count\S* (\d+)$/gm);
    return [...counts].map(([, count]) => Number(count));
  }

  #lastWords(): string {
    return readFileSync(this.#logFile, 'utf8').slice(-4000);
  }

  stop(): Promise<void> {
    return end(this.#child);
  }
}
