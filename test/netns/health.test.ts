// Requests of load balancers and probes to a node: health checks of Services, /healthz, the metrics address:
//
//   client ─ eth0 ── router ── eth0 ── node ─── cni0 ─┬─ a, b   endpoints: TCP echo on 8080
//                                      sluice  bridge └─ dora   a client on the node
import { once } from 'node:events';
import t, { type Test } from 'tap';
import type { Status } from '../../src/api/bodies.ts';
import { sluice } from '../support/lab/agent.ts';
import { serveEcho } from '../support/lab/echo.ts';
import { type Machine, families, type FamilyKey } from '../support/lab/lab.ts';
import {
  serviceDocument,
  sliceDocuments,
  type ServiceText,
  type SliceEndpoint,
} from '../support/kube/manifests.ts';
import { end, until } from '../support/run/process.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(300_000);
const { node, folder, pods, startAgent, outside } = await oneNode(t, 'client');
const [client] = outside;
const [a, b, dora] = await pods('a', 'b', 'dora');
await serveEcho([a, b]);

const nodePort = 30_080;
const ports = { check: 32_001, moved: 32_002, taken: 32_003, healthz: 10_256, metrics: 10_249 };

const web: ServiceText = {
  name: 'web',
  type: 'LoadBalancer',
  clusterIPs: ['10.96.0.10', 'fd00:96::a'],
  ports: [
    { name: 'x', protocol: 'TCP', port: 80, nodePort },
    { name: 'y', protocol: 'TCP', port: 81, nodePort: nodePort + 1 },
  ],
  ingress: [{ ip: '192.0.2.80' }, { ip: '2001:db8::80' }],
  externalTrafficPolicy: 'Local',
  healthCheckNodePort: ports.check,
};

const here = (machines: readonly Machine[], more: Partial<SliceEndpoint> = {}): SliceEndpoint[] =>
  machines.flatMap(({ v4, v6 }) => [v4, v6].map((address) => ({ address, nodeName: node.name, ...more })));
const elsewhere: SliceEndpoint[] = [
  { address: '10.244.9.9', nodeName: 'another' },
  { address: 'fd00:244:9::9', nodeName: 'another' },
];

interface SliceDocument {
  readonly metadata: object;
}

const triggerTime = 'endpoints.kubernetes.io/last-change-trigger-time';
function put(service: ServiceText, endpoints: readonly SliceEndpoint[], annotations: object = {}): void {
  // Two ports with the same endpoints: each address counts once (S-93).
  const slicePorts = service.ports.map(({ name, protocol }) => ({ name, protocol, port: 8_080 }));
  const made = sliceDocuments({ service: service.name, endpoints, ports: slicePorts }) as SliceDocument[];
  const slices = made.map((slice) => ({ ...slice, metadata: { ...slice.metadata, annotations } }));
  folder.put(`${service.name}.yaml`, [serviceDocument(service), ...slices]);
}

interface Told {
  readonly status: number; // 0: no answer
  readonly head: string;
  readonly body: string;
}

async function curl(from: Machine, host: string, port: number, path = '/'): Promise<Told> {
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${String(port)}${path}`;
  const { stdout } = await from.netns.run(['curl', '-sgi', '--max-time', '5', url], { mayFail: true });
  const [head = '', ...rest] = stdout.split('\r\n\r\n');
  return { status: Number(head.split(' ')[1] ?? 0), head: head.toLowerCase(), body: rest.join('') };
}

/** Waits for what the balancer of each family is told: status and number of endpoints. */
async function untilTold(v4: readonly [number, number], v6: readonly [number, number]): Promise<void> {
  const wanted = { v4, v6 };
  await until(`checks of ${JSON.stringify(wanted)}`, async () => {
    for (const family of families) {
      const { status, body } = await curl(client, node[family], ports.check);
      if (status !== wanted[family][0]) return undefined;
      if ((JSON.parse(body) as { localEndpoints: number }).localEndpoints !== wanted[family][1])
        return undefined;
    }
    return true;
  });
}

/** Local addresses at which a socket listens on the port. */
async function listeners(port: number): Promise<string[]> {
  const { stdout } = await node.netns.run(['ss', '-Hltn', `sport = :${String(port)}`]);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.trim().split(/\s+/)[3] ?? '');
}

const untilClosed = (port: number): Promise<true> =>
  until(`no listener on port ${String(port)}`, async () =>
    (await listeners(port)).length === 0 ? true : undefined,
  );

async function served(t: Test, family: FamilyKey): Promise<void> {
  const tally = await client.actor.call('crowd', { host: node[family], port: nodePort, connections: 20 });
  t.strictSame(tally.errors, {}, `the node port serves over IP${family}`);
}

put(web, here([a, b]));
let agent = await startAgent({ flags: ['--xdp', 'off'] });

t.test(
  'a health check answers the number of local endpoints, over both families (S-91, S-92, S-93)',
  async (t) => {
    for (const family of families) {
      for (const from of [client, dora, node]) {
        const { status, head, body } = await curl(from, node[family], ports.check, '/any?path');
        t.equal(status, 200, `${from.name} over IP${family}`);
        t.match(head, /^content-type: application\/json$/m);
        t.match(head, /^x-content-type-options: nosniff$/m);
        t.match(head, /^x-load-balancing-endpoint-weight: 2$/m);
        t.same(JSON.parse(body), {
          service: { namespace: 'lab', name: 'web' },
          localEndpoints: 2,
          serviceProxyHealthy: true,
        });
      }
      await served(t, family);
    }
  },
);

t.test('each family has its own count (S-91)', async (t) => {
  put(web, [...here([a]).slice(0, 1), ...elsewhere]);
  await untilTold([200, 1], [503, 0]);
  t.pass();
});

t.test('terminating endpoints fail the check while they are still served (S-93)', async (t) => {
  put(web, here([a, b], { ready: false, serving: true, terminating: true }));
  await untilTold([503, 0], [503, 0]);
  for (const family of families) await served(t, family);
});

t.test('without a local endpoint the check fails (S-92)', async (t) => {
  put(web, elsewhere);
  await untilTold([503, 0], [503, 0]);
  t.match((await curl(client, node.v4, ports.check)).head, /^x-load-balancing-endpoint-weight: 0$/m);
});

t.test('the port follows the Service: changed, no longer needed, deleted (S-13, S-94)', async (t) => {
  put({ ...web, healthCheckNodePort: ports.moved }, here([a]));
  await until('the new port', async () => ((await listeners(ports.moved)).length > 0 ? true : undefined));
  await untilClosed(ports.check);
  const others: [string, Partial<ServiceText>][] = [
    ['policy Cluster', { externalTrafficPolicy: 'Cluster' }],
    ['type NodePort with a left-over number', { type: 'NodePort' }],
    ['another proxy', { labels: { 'service.kubernetes.io/service-proxy-name': '' } }],
  ];
  for (const [what, change] of others) {
    put({ ...web, ...change }, here([a]));
    await untilClosed(ports.moved);
    await untilClosed(ports.check);
    put({ ...web, healthCheckNodePort: ports.moved }, here([a]));
    await until('the port again', async () => ((await listeners(ports.moved)).length > 0 ? true : undefined));
    t.pass(what);
  }
  folder.remove('web.yaml');
  await untilClosed(ports.moved);
});

t.test('a port in use is tried again, and other Services are not affected (S-94)', async (t) => {
  const script = `require('net').createServer().listen(${String(ports.taken)}, () => console.log('up'))`;
  const holder = node.netns.spawn([process.execPath, '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(holder.stdout!, 'data');
  put({ ...web, name: 'late', clusterIPs: ['10.96.0.11'], healthCheckNodePort: ports.taken, ports: [] }, []);
  put(web, here([a]));
  await untilTold([200, 1], [200, 1]);
  await agent.until('the complaint', () =>
    Promise.resolve(/"service":"lab\/late".*EADDRINUSE/.test(agent.log) ? true : undefined),
  );
  await end(holder);
  const told = await until('the port of late', async () => {
    const answer = await curl(client, node.v4, ports.taken);
    return answer.status === 0 ? undefined : answer;
  });
  t.match(told, { status: 503, body: /"name": "late"/ });
  folder.remove('late.yaml');
  await untilClosed(ports.taken);
});

t.test(
  '/healthz answers from outside over both families, and fails when the node is deleted (S-95, S-96, S-97)',
  async (t) => {
    for (const family of families) {
      const { status, body } = await curl(client, node[family], ports.healthz, '/healthz');
      t.equal(status, 200, `over IP${family}`);
      t.match(JSON.parse(body), {
        nodeEligible: true,
        healthy: true,
        lastUpdated: /^20/,
        currentTime: /^20/,
      });
    }
    const leaving = { effect: 'NoSchedule', key: 'ToBeDeletedByClusterAutoscaler', value: '1' };
    const metadata = { name: node.name };
    folder.put('node.yaml', [{ apiVersion: 'v1', kind: 'Node', metadata, spec: { taints: [leaving] } }]);
    const told = await until('the node to be given up', async () => {
      const answer = await curl(client, node.v4, ports.healthz, '/healthz');
      return answer.status === 503 ? answer : undefined;
    });
    t.match(JSON.parse(told.body), { nodeEligible: false, healthy: true });
    t.equal(
      (await curl(client, node.v4, ports.healthz, '/livez')).status,
      200,
      'no reason to restart the proxy',
    );
    t.equal(
      (await curl(client, node.v4, ports.check)).status,
      200,
      'nor to stop sending to its endpoints (S-93)',
    );
    await served(t, 'v4');
    folder.remove('node.yaml');
  },
);

t.test('2 000 slow clients do not block health checks and probes (S-91, S-97)', async (t) => {
  for (const family of families) {
    const slow = { host: node[family], ports: [ports.healthz, ports.check], count: 2_000 };
    await client.actor.call('holdSlow', slow);
    for (const from of [dora, node, client]) {
      t.equal(
        (await curl(from, node[family], ports.healthz, '/healthz')).status,
        200,
        `${from.name}, /healthz`,
      );
      t.equal((await curl(from, node[family], ports.check)).status, 200, `${from.name}, the check`);
    }
    await until('a bounded number of connections', async () => {
      // Those that the kernel has accepted and the agent not yet are among them.
      const { stdout } = await node.netns.run([
        'ss',
        '-Htn',
        'state',
        'established',
        `sport = :${ports.healthz}`,
      ]);
      return stdout.split('\n').length - 1 <= 64;
    });
    await client.actor.call('dropSlow');
  }
});

t.test('the local endpoints of kube-proxy answer (S-98, S-99)', async (t) => {
  const ask = (path: string): Promise<Told> => curl(node, '127.0.0.1', ports.metrics, path);
  t.match(await ask('/proxyMode'), { status: 200, body: 'sluice' });
  t.match(await ask('/healthz'), { status: 200, body: 'ok' });
  t.match((await ask('/metrics/slis')).body, /^kubernetes_healthcheck\{name="ping",type="healthz"\} 1$/m);
  t.match(JSON.parse((await ask('/configz')).body), { sluice: { nodeName: node.name } });
  const { body } = await ask('/metrics');
  for (const line of [
    /^kubeproxy_sync_full_proxy_rules_duration_seconds_count\{ip_family="IPv4"\} 1$/m,
    /^kubeproxy_sync_proxy_rules_service_changes_pending 0$/m,
    /^kubeproxy_sync_proxy_rules_service_changes_total [1-9]/m,
    /^kubeproxy_proxy_healthz_total\{code="503"\} [1-9]/m,
    /^kubeproxy_sync_proxy_rules_last_timestamp_seconds\{ip_family="IPv6"\} 1[0-9]{9}/m,
    /^process_resident_memory_bytes [1-9]/m,
  ])
    t.match(body, line);
  t.equal((await curl(client, node.v4, ports.metrics, '/metrics')).status, 0, 'not from outside');
});

t.test('traffic dropped for want of local endpoints is counted (S-50)', async (t) => {
  const count = async (): Promise<string | undefined> => {
    const { body } = await curl(node, '127.0.0.1', ports.metrics, '/metrics');
    const name = 'kubeproxy_sync_proxy_rules_no_local_endpoints_total';
    return new RegExp(`^${name}\\{ip_family="IPv4",traffic_policy="external"\\} (\\d+)$`, 'm').exec(
      body,
    )?.[1];
  };
  t.equal(await count(), '0');
  put(web, elsewhere);
  await until('both ports to be counted', async () => ((await count()) === '2' ? true : undefined));
  put(web, here([a]));
  await until('none to be counted', async () => ((await count()) === '0' ? true : undefined));
});

t.test(
  'health checks listen at the node port addresses, and close with the agent (S-56, S-91, S-104)',
  async (t) => {
    await agent.stop();
    t.same(await listeners(ports.check), [], 'stopped');
    const flags = ['--xdp', 'native', '--nodeport-addresses', `${node.v4}/32,${node.v6}/128`];
    agent = await startAgent({ flags });
    await untilTold([200, 1], [200, 1]);
    t.same(
      (await listeners(ports.check)).sort(),
      [`${node.v4}:${ports.check}`, `[${node.v6}]:${ports.check}`].sort(),
    );
    t.equal((await curl(dora, '10.244.1.1', ports.check)).status, 0, 'not at the address of the bridge');
    const { devices } = await agent.json<Status>('/v1/status');
    t.match(
      devices.find(({ name }) => name === 'eth0'),
      { xdp: 'native' },
    );
    for (const family of families) {
      const { status } = await curl(client, node[family], ports.healthz, '/healthz');
      t.equal(status, 200, `XDP lets probes through over IP${family} (S-97)`);
    }
  },
);

t.test('the latency of a change is measured from its trigger to the kernel (S-32, S-101)', async (t) => {
  const name = 'kubeproxy_network_programming_duration_seconds';
  const programmed = async (): Promise<string | undefined> => {
    const { body } = await curl(node, '127.0.0.1', ports.metrics, '/metrics');
    return new RegExp(`^${name}_count\\{ip_family="IPv6"\\} (\\d+)$`, 'm').exec(body)?.[1];
  };
  t.equal(await programmed(), '0');
  put(web, here([b]), { [triggerTime]: new Date().toISOString() });
  await until('the latency', async () => ((await programmed()) === '1' ? true : undefined));
});

t.test('with --bind-address-hard-fail a taken address ends the agent (S-97)', async (t) => {
  // In a folder of its own: the one that is there is held by the agent that has the address.
  const flags = ['--bind-address-hard-fail', 'true', '--api-address', '', '--bpffs', `${node.bpffs}-other`];
  const place = ['--cgroup', node.cgroup ?? 'auto', '--manifests', folder.path, '--node-name', node.name];
  t.teardown(() => sluice(node, 'clean', '--bpffs', `${node.bpffs}-other`));
  const ran = await sluice(node, 'agent', ...place, '--xdp', 'off', ...flags);
  t.not(ran.code, 0);
  t.match(ran.stderr, /SLB_E_LISTEN.*healthz.*EADDRINUSE/);
});
