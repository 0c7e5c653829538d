// The kube source beside an API server that does as it is told, and a clock that does so too.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import type { Test } from 'tap';
import type { Clock } from '../../../src/source/kube/clock.ts';
import { KubeSource } from '../../../src/source/kube/source.ts';
import { FakeKube, type Raw } from './fakekube.ts';
import { until } from '../run/process.ts';
import { RecordingSink } from './sink.ts';

/** Time passes only when the source sleeps or a test says so; sleeping is noted and takes no time. */
export class FakeClock implements Clock {
  readonly waits: number[] = [];
  #now = 0;
  #timers = new Map<object, { readonly at: number; readonly call: () => void }>();
  armed = 0;

  now(): number {
    return this.#now;
  }
  random(): number {
    return 0.5;
  }
  async sleep(ms: number): Promise<void> {
    this.waits.push(ms);
    this.advance(ms);
    await turn();
  }
  after(ms: number, call: () => void): () => void {
    const timer = {};
    this.armed++;
    this.#timers.set(timer, { at: this.#now + ms, call });
    return () => void this.#timers.delete(timer);
  }
  advance(ms: number): void {
    this.#now += ms;
    for (const [timer, { at, call }] of [...this.#timers]) {
      if (at > this.#now) continue;
      this.#timers.delete(timer);
      call();
    }
  }
}

export interface Lab {
  readonly kube: FakeKube;
  readonly clock: FakeClock;
  readonly sink: RecordingSink;
  readonly source: KubeSource;
  readonly kubeconfig: string;
  start(): Promise<void>;
}

export async function lab(t: Test, sink = new RecordingSink(), pods = false): Promise<Lab> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sluice-kube-'));
  const kubeconfig = path.join(folder, 'kubeconfig');
  const kube = new FakeKube();
  await kube.start();
  await kube.writeKubeconfig(kubeconfig);
  const clock = new FakeClock();
  const source = new KubeSource({ kubeconfig, nodeName: 'me', clock, pods });
  t.teardown(async () => {
    await source.stop();
    await kube.stop();
    await rm(folder, { recursive: true });
  });
  const start = async (): Promise<void> => {
    await source.start(sink);
    await until('synced', () => sink.syncs === 1);
  };
  return { kube, clock, sink, source, kubeconfig, start };
}

export function service(name: string, uid = `uid-${name}`, port = 80): Raw {
  const spec = { clusterIP: '10.96.0.1', ports: [{ port }] };
  return { metadata: { name, namespace: 'default', uid }, spec };
}

export function portOf(sink: RecordingSink, name: string): number | undefined {
  const object = sink.objects.get(`Service/default/${name}`);
  return object?.kind === 'Service' ? object.ports[0]?.port : undefined;
}
