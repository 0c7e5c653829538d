import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Backend, Flow } from '../../../src/api/bodies.ts';
import type { Commands } from '../../../src/cli/commands.ts';
import type { Config } from '../../../src/config/schema.ts';
import { SluiceError } from '../../../src/errors.ts';
import { serve, sluice } from '../../support/api/command.ts';
import { fakeView, status, web, webBackends, webFlows } from '../../support/api/view.ts';

t.test('services: a table, and JSON with -o json', async (t) => {
  const api = await serve(t);
  const list = await sluice(['services', '--api', api]);
  t.equal(
    list.out,
    [
      'NAMESPACE  NAME  PORT  PROTO  FRONTENDS      BACKENDS  CONNECTIONS  SOCKETS      IN     OUT',
      'shop       web   http  TCP    10.96.0.10:80         1            7        3  7.0 kB  1.3 MB',
      '',
    ].join('\n'),
  );
  t.equal(list.code, 0);
  t.same(JSON.parse((await sluice(['services', '--api', api, '-o', 'json'])).out), { services: [web] });
  const one = await sluice(['services', 'shop/web', '--api', api]);
  t.equal(
    one.out,
    [
      'shop/web',
      '',
      'PORT  PROTO  FAMILY  AFFINITY  CONNECTIONS  SOCKETS      IN     OUT  REFUSED',
      'http  TCP    IPv4    -                   7        3  7.0 kB  1.3 MB        2',
      '',
      'FRONTEND       TYPE       POLICY   BACKENDS',
      '10.96.0.10:80  ClusterIP  Cluster  1',
      '',
      'BACKEND        STATE     NODE    CONNECTIONS  SOCKETS      IN     OUT',
      '10.1.0.2:8080  ready     local             7        3  7.0 kB  1.3 MB',
      '10.1.0.3:8080  draining  remote            7        3  7.0 kB  1.3 MB',
      '',
    ].join('\n'),
  );
  t.same(JSON.parse((await sluice(['services', 'shop/web', '--api', api, '-o', 'json'])).out), {
    ...web,
    backends: webBackends,
    problems: [],
  });
});

t.test(
  'backends: those that are not ready and receive all the same, and those without counters',
  async (t) => {
    const [port] = web.ports;
    const [ready] = webBackends;
    if (port === undefined || ready === undefined) throw new Error('no port, no backend');
    const backend = (address: string, serving: boolean, terminating: boolean, counted = true): Backend => {
      return { ...ready, address, conditions: { ready: !terminating, serving, terminating }, counted };
    };
    const detail = {
      ...web,
      ports: [{ ...port, counted: false }],
      backends: [
        backend('10.1.0.2', true, false),
        backend('10.1.0.3', false, false),
        backend('10.1.0.4', true, true, false),
      ],
      problems: [],
    };
    const api = await serve(t, fakeView({ service: () => detail, services: () => ({ services: [detail] }) }));
    const { out } = await sluice(['services', 'shop/web', '--api', api]);
    t.match(out, /^http +TCP +IPv4 +- +- +- +- +- +-$/m);
    t.match(out, /^10\.1\.0\.2:8080 +ready +local +7 /m);
    t.match(out, /^10\.1\.0\.3:8080 +not ready, published +local +7 /m, 'publishNotReadyAddresses');
    t.match(out, /^10\.1\.0\.4:8080 +terminating, in use +local +- +- +- +-$/m, 'none is ready');
    t.match((await sluice(['services', '--api', api])).out, /^shop +web .* 1 +- +- +- +-$/m);
  },
);

t.test('hints and errors name the command that was typed', async (t) => {
  t.match((await sluice(['status', '--bogus'])).err, /\(sluice status --help lists what is allowed\)\n$/);
  t.match((await sluice(['flows', '--limit', 'x'])).err, /\(sluice flows --help /);
  t.match((await sluice(['-o', 'json', 'flows', '--bogus'])).err, /\(sluice --help |\(sluice flows --help /);
  t.match((await sluice(['bogus'])).err, /\(sluice --help lists what is allowed\)\n$/);
  t.match((await sluice(['services', 'foo'])).err, /see `sluice services --help`\n$/);
});

t.test('agent: --node-name is the name of a Node', async (t) => {
  const agent = (config: Config) => {
    t.match(config.nodeName, /^[a-z0-9.-]+$/);
    return Promise.resolve('stopped' as const);
  };
  for (const name of ['node-1.example', 'Node-1', ' n ', 'a'.repeat(253), '10.0.0.1'])
    t.equal((await sluice(['agent', '--node-name', name], { agent })).code, 0, name);
  for (const name of ['a b', 'a_b', '-a', 'a.', '.a', 'a..b', 'ä', 'a'.repeat(254), 'a/b']) {
    t.match(await sluice(['agent', '--node-name', name], { agent }), {
      code: 2,
      err: /^sluice: SLB_E_CONFIG: --node-name: ".*" is not allowed: use the name of the Node object, a DNS subdomain/,
    });
  }
});

t.test('a Service for outside clients: its policies, its source ranges and local backends', async (t) => {
  const [port] = web.ports;
  if (port === undefined) throw new Error('no port');
  const detail = {
    ...web,
    backends: webBackends,
    problems: [
      { where: 'web.yaml:7', field: 'ports', message: '"http" (UDP) is no port of Service shop/web' },
    ],
    ports: [
      {
        ...port,
        frontends: [
          ...port.frontends,
          { kind: 'LoadBalancer', address: '203.0.113.1', port: 80 },
          { kind: 'NodePort', address: '0.0.0.0', port: 30080 },
        ],
        clusterBackends: 3,
        localBackends: 1,
        externalTrafficPolicy: 'Local' as const,
        affinitySec: 10_800,
        allowedSources: ['198.51.100.0/24', '192.0.2.0/24'],
        deniedSources: ['192.0.2.66/32'],
      },
    ],
  };
  const api = await serve(t, fakeView({ service: () => detail }));
  const { out } = await sluice(['services', 'shop/web', '--api', api]);
  t.match(out, /^http +TCP +IPv4 +3h/m);
  t.ok(
    out.includes(
      [
        '',
        'FRONTEND        TYPE          POLICY   BACKENDS',
        '10.96.0.10:80   ClusterIP     Cluster  3',
        '203.0.113.1:80  LoadBalancer  Local    1 local',
        '*:30080         NodePort      Local    1 local',
        '',
        'load balancer addresses: only from 198.51.100.0/24, 192.0.2.0/24',
        'all but the cluster address: not from 192.0.2.66/32',
        '',
        '',
      ].join('\n'),
    ),
    out,
  );
  t.match(out, /\n\nproblem {2}web\.yaml:7: ports: "http" \(UDP\) is no port of Service shop\/web\n$/);
});

t.test('status: exit code 0 when ready, else 1 with the reason', async (t) => {
  const ready = await sluice(['status', '--api', await serve(t)]);
  t.equal(ready.code, 0);
  t.match(ready.out, /state +ready\n/);
  t.match(ready.out, /last sync +59s ago, 9 rows in 1\.5 ms\n/);
  t.match(ready.out, /socket hooks +on, at \/sys\/fs\/cgroup\n/);
  t.match(ready.out, /eth0 +uplink +tcx +native\n/);
  t.match(ready.out, /\nCOUNTER +COUNT\nAFFINITY_KEPT +5\n$/, 'of counters those that are not 0');
  t.match(ready.out, /tc_in +REQUEST +SEND +70\n/);
  t.match(ready.out, /mesh istio +2 +1 +shop\/web-2, shop\/web-1\noption +1 +0 +batch\.slice\n/);
  const problems = [{ where: 'a.yaml:3', field: 'spec.ports', message: 'missing' }];
  const notReady = {
    ...status,
    ready: false,
    missing: ['source not synced'],
    socketHooks: { state: 'ending' as const, detail: 'disabled by --socket-hooks' },
    source: { ...status.source, synced: false, problems },
    features: [{ name: 'tcx', supported: false, detail: 'kernel 6.1: clsact instead' }],
    errors: [{ at: '2026-01-01T00:00:55.000Z', code: 'SLB_E_MAP', message: 'slb_flows4: EPERM' }],
    warnings: ['slb_backends is 81 % full: raise --max-backends'],
    unprogrammed: Array.from({ length: 52 }, (_, i) => ({
      service: `shop/s${i}`,
      reason: `shop/s${i}: not programmed`,
    })),
    failingSince: '2026-01-01T00:00:30.000Z',
  };
  const other = await sluice(['status', '--api', await serve(t, fakeView({ status: () => notReady }))]);
  t.equal(other.code, 1);
  t.match(other.out, /state +not ready: source not synced\n/);
  t.match(other.out, /socket hooks +ending: disabled by --socket-hooks\n/);
  t.match(other.out, /problem +a\.yaml:3: spec\.ports: missing\n/);
  t.match(other.out, /\nproblems +1, below\n/);
  const source = { ...status.source, problems: Array.from({ length: 23 }, () => problems[0]!) };
  const many = await sluice([
    'status',
    '--api',
    await serve(t, fakeView({ status: () => ({ ...status, source }) })),
  ]);
  t.equal(many.out.match(/^problem {2}a\.yaml/gm)?.length, 20);
  t.match(many.out, /^problem {2}3 more: sluice status -o json\n/m);
  t.match(other.out, /error +5s ago: SLB_E_MAP: slb_flows4: EPERM\n/);
  t.match(other.out, /warning +slb_backends is 81 % full: raise --max-backends\n/);
  t.match(other.out, /unserved +shop\/s0: not programmed\n/);
  t.match(other.out, /unserved +2 more; -o json has them all\n/);
  t.match(other.out, /last sync .*; failing since 30s ago\n/);
  t.match(other.out, /fallback +tcx: kernel 6\.1: clsact instead\n/);
});

t.test('flows: pages are joined up to the limit', async (t) => {
  const asked: unknown[] = [];
  const view = fakeView({
    flows: (query) => {
      asked.push(query);
      return fakeView().flows({ ...query, limit: 2 });
    },
  });
  const api = await serve(t, view);
  const all = await sluice(['flows', '--api', api, '-o', 'json', '--service', 'shop/web']);
  t.same(JSON.parse(all.out), { flows: webFlows, more: false });
  t.match(asked, [{ service: 'shop/web' }, { service: 'shop/web', cursor: '2' }]);
  const some = await sluice(['flows', '--api', api, '--limit', '2', '--client', '10.2.0.9']);
  t.match(
    some.out,
    /TCP +10\.2\.0\.9:40001 +shop\/web +10\.96\.0\.10:80 +10\.1\.0\.2:8080 +established +3m12s +3s\n/,
  );
  t.match(some.out, /there are more: raise --limit 2/);
  t.notMatch(some.out, /SNAT/, 'when every backend sees its client');
  const [flow] = webFlows;
  if (flow === undefined) throw new Error('no flow');
  const behind = { ...flow, masqueraded: true, source: { address: '192.0.2.1', port: 40_001 } };
  const masqueraded = await serve(t, fakeView({ flows: () => ({ flows: [behind, flow] }) }));
  const { out } = await sluice(['flows', '--api', masqueraded]);
  t.match(out, /SNAT +BACKEND .*\nTCP .*:80 +192\.0\.2\.1:40001 +10\.1\.0\.2:8080 .*\nTCP .*:80 +- +10\.1/);
});

t.test('flows of sockets: an unknown client, and times that are not recorded', async (t) => {
  const [flow] = webFlows;
  if (flow === undefined) throw new Error('no flow');
  const { idleSec, ...unnoted } = flow;
  const of = (address: string, port: number, times: { idleSec?: number } = {}): Flow => {
    const client = { address, port };
    return { ...unnoted, ...times, via: 'socket', protocol: 'UDP', client, source: client };
  };
  const flows = [flow, of('10.2.0.9', 41_000), of('', 0), of('', 41_000, { idleSec: 7 })];
  const { out } = await sluice(['flows', '--api', await serve(t, fakeView({ flows: () => ({ flows }) }))]);
  const columns = out.split('\n').map((line) => line.split(/ {2,}/));
  t.same(columns.map(([, via, client]) => [via, client]).slice(0, 5), [
    ['VIA', 'CLIENT'],
    ['packets', '10.2.0.9:40001'],
    ['socket', '10.2.0.9:41000'],
    ['socket', '?'],
    ['socket', '*:41000'],
  ]);
  t.same(columns.map((line) => line.at(-1)).slice(0, 5), ['IDLE', `${String(idleSec)}s`, '-', '-', '7s']);
  t.notMatch(out, /SNAT/);
});

t.test('wrong usage: exit code 2', async (t) => {
  for (const args of [
    ['frobnicate'],
    ['status', '--nothing'],
    ['flows', '--limit', '0'],
    ['services', '-o', 'xml'],
    [],
  ]) {
    const answer = await sluice(args);
    t.equal(answer.code, 2, args.join(' '));
    t.not(answer.err, '', 'it says so');
  }
});

t.test('help and version', async (t) => {
  t.match(await sluice(['--version']), { code: 0, out: /^\d+\.\d+\.\d+\n$/ });
  t.match(await sluice(['--help']), { code: 0, out: /Exit codes:\n/ });
  const help = await sluice(['agent', '--help']);
  t.notMatch(help.out, /preset/);
  t.equal(help.code, 0);
  for (const part of [
    '--node-name',
    'SLUICE_NODE_NAME',
    '--tcp-timeout-established',
    '24h',
    '127.0.0.1:9961',
  ]) {
    t.ok(help.out.includes(part), part);
  }
});

t.test('agent: flags of kube-proxy, and what is ignored of them for the log (S-115)', async (t) => {
  let got: Parameters<Commands['agent']> | undefined;
  const line = [
    'agent',
    '--hostname-override=B',
    '-v=4',
    '--masquerade-all',
    '--profiling',
    '--ipvs-scheduler',
    'rr',
  ];
  const started = await sluice(line, {
    agent: (...args) => {
      got = args;
      return Promise.resolve('stopped');
    },
  });
  t.match(started, { code: 0, err: '' });
  t.match(got?.[0], { nodeName: 'b', logLevel: 'debug', masqueradeAll: true });
  t.match(got?.[1].notes, [/^--profiling: ignored/, /^--ipvs-scheduler: ignored/]);
  t.match(await sluice(['agent', '--proxy-mode', 'userspace']), {
    code: 2,
    err: /--proxy-mode: "userspace"/,
  });
});

t.test('agent: a changed file of options begins the process anew, without an exit (S-108)', async (t) => {
  let restarts = 0;
  const path = join(t.testdir({ 'sluice.yaml': 'xdp: off\n' }), 'sluice.yaml');
  const ended = await sluice(['agent', '--config', path, '--devices', 'eth0'], {
    agent: (config, { file }) => {
      t.equal(file?.path, path);
      writeFileSync(path, 'xdp: native\n');
      t.same(file?.reload(), { ...config, xdp: 'native' }, 'with the same flags');
      return Promise.resolve('restart');
    },
    restart: () => {
      restarts++;
      return Promise.resolve();
    },
  });
  t.match(ended, { code: 0, err: '' });
  t.equal(restarts, 1);
  const failed = await sluice(['agent', '--config', path], {
    agent: () => Promise.resolve('restart'),
    restart: () => Promise.reject(new SluiceError('SLB_E_RESTART', 'execv: No such file or directory')),
  });
  t.match(failed, { code: 1, err: /SLB_E_RESTART: execv/ }, 'then its supervisor has to');
});

t.test('agent: options that do one thing and exit (S-107, S-114)', async (t) => {
  const asked: unknown[] = [];
  const errands = {
    clean: (options: object) => {
      asked.push(options);
      return Promise.resolve({ removed: ['nftables table ip kube-proxy'], restored: [] });
    },
    prepare: ({ bpffs }: Config) => {
      asked.push(bpffs);
      return Promise.resolve();
    },
  };
  t.match(
    await sluice(['agent', '--cleanup', '--bpffs', '/sys/fs/bpf/x', '--kubeconfig', '/none'], errands),
    {
      code: 0,
      out: 'removed nftables table ip kube-proxy\n',
    },
  );
  t.match(await sluice(['agent', '--init-only', '--bpffs', '/sys/fs/bpf/y'], errands), { code: 0, out: '' });
  t.same(asked, [{ bpffs: '/sys/fs/bpf/x', kubeProxy: true, force: false }, '/sys/fs/bpf/y']);
  t.match(await sluice(['agent', '--init-only=true', '--bpffs', '/sys/fs/bpf/z'], errands), { code: 0 });
  t.match(await sluice(['agent', '--cleanup=True', '--bpffs', '/sys/fs/bpf/z'], errands), { code: 0 });
  t.same(
    asked.slice(2),
    ['/sys/fs/bpf/z', { bpffs: '/sys/fs/bpf/z', kubeProxy: true, force: false }],
    'as Go reads switches',
  );
  t.match(await sluice(['agent', '--version']), { code: 0, out: /^\d+\.\d+\.\d+\n$/ });
  const path = join(t.testdir({}), 'options.yaml');
  t.equal((await sluice(['agent', '--write-config-to', path, '--hostname-override=b', '--xdp=off'])).code, 0);
  t.match(readFileSync(path, 'utf8'), /nodeName: b\n[^]*xdp: off\n/);
});

t.test('agent: flags as kube-proxy takes them: with underscores, lists in parts (S-115)', async (t) => {
  let got: Config | undefined;
  const agent = (config: Config) => {
    got = config;
    return Promise.resolve('stopped' as const);
  };
  const flags = ['--nodeport_addresses=primary', '--nodeport-addresses', 'localhost,192.0.2.0/24'];
  t.match(await sluice(['agent', ...flags, '--masquerade_all=T', '--detect_local_mode='], { agent }), {
    code: 0,
    err: '',
  });
  t.match(got, { nodeportAddresses: ['primary', 'localhost', '192.0.2.0/24'], masqueradeAll: true });
  t.equal(got?.detectLocalMode, 'Device');
});

t.test('agent: gets the checked configuration; its error is one line', async (t) => {
  let got: Config | undefined;
  const started = await sluice(['agent', '--manifests', '/etc/sluice', '--node-name', 'A', '--xdp=off'], {
    agent: (config) => {
      got = config;
      return Promise.resolve('stopped');
    },
  });
  t.equal(started.code, 0);
  t.match(got, { manifests: '/etc/sluice', nodeName: 'a', xdp: 'off' });
  t.match(await sluice(['agent', '--xdp', 'fast']), {
    code: 2,
    err: /^sluice: SLB_E_CONFIG: --xdp: "fast" is not allowed/,
  });
  const failing = { agent: () => Promise.reject(new SluiceError('SLB_E_NOT_ROOT', 'uid 1000')) };
  const failed = await sluice(['agent'], failing);
  t.match(failed, { code: 1, err: /^sluice: SLB_E_NOT_ROOT: uid 1000\n {2}root privileges are missing/ });
  t.notMatch(failed.err, /\n +at /);
  t.match((await sluice(['agent', '--log-level', 'debug'], failing)).err, /\n +at /, 'debug shows the stack');
});

t.test('check: exit code 0 when an agent can run, else 1', async (t) => {
  const root = { name: 'root', needed: true, supported: true, detail: 'uid 0' };
  const tcx = { name: 'tcx', needed: false, supported: false, detail: 'kernel 6.1: clsact' };
  let asked: unknown;
  const good = await sluice(['check', '--bpffs', '/sys/fs/bpf/x'], {
    check: (options) => {
      asked = options;
      return Promise.resolve([root, tcx]);
    },
  });
  t.same(asked, { bpffs: '/sys/fs/bpf/x', cgroup: 'auto' });
  t.equal(good.code, 0);
  t.match(good.out, /root +ok +uid 0\ntcx +fallback +kernel 6\.1: clsact\n\nan agent can run here\n/);
  const bad = await sluice(['check', '-o', 'json'], {
    check: () => Promise.resolve([{ ...root, supported: false }]),
  });
  t.equal(bad.code, 1);
  t.match(JSON.parse(bad.out), { usable: false, checks: [{ name: 'root', supported: false }] });
});

t.test('clean: says what was removed', async (t) => {
  const cleaned = { removed: ['maps/frontends'], restored: ['net.ipv4.conf.lo.accept_local = 0'] };
  const clean = () => Promise.resolve(cleaned);
  t.match(await sluice(['clean'], { clean }), {
    code: 0,
    out: 'removed maps/frontends\nrestored net.ipv4.conf.lo.accept_local = 0\n',
  });
  t.same(JSON.parse((await sluice(['clean', '-o', 'json'], { clean })).out), cleaned);
  t.match(await sluice(['clean'], { clean: () => Promise.resolve({ removed: [], restored: [] }) }), {
    code: 0,
    out: 'nothing of Sluice was there\n',
  });
});
