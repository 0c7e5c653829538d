// How the kube source authenticates to the API server: credential plugins (real programs), token files, client
// certificates, TLS options.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { Credentials } from '../../../../src/source/kube/credentials.ts';
import { refuse } from '../../../support/kube/fakekube.ts';
import { FakeClock, lab, service } from '../../../support/kube/kubelab.ts';
import { until } from '../../../support/run/process.ts';

const apiVersion = 'client.authentication.k8s.io/v1';
const services = '/api/v1/services';

interface Setup {
  readonly user?: object;
  readonly cluster?: object;
}

function folderOf(t: Test, { user = {}, cluster = {} }: Setup): { folder: string; file: string } {
  const folder = t.testdir();
  const file = path.join(folder, 'kubeconfig');
  const config = {
    clusters: [{ name: 'prod', cluster: { server: 'https://127.0.0.1:6443', ...cluster } }],
    users: [{ name: 'agent', user }],
    contexts: [{ name: 'x', context: { cluster: 'prod', user: 'agent' } }],
    'current-context': 'x',
  };
  writeFileSync(file, JSON.stringify(config));
  return { folder, file };
}

/** A plugin that notes each run and what it was told, and then does as the script says. */
function script(folder: string, body: string): void {
  const text = `#!/bin/sh\necho run >>"$0.runs"\nprintf %s "$KUBERNETES_EXEC_INFO" >"$0.info"\n${body}\n`;
  writeFileSync(path.join(folder, 'plugin'), text, { mode: 0o755 });
}

function runs(folder: string): number {
  const file = path.join(folder, 'plugin.runs');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').length : 0;
}

function print(status: object): string {
  return `cat <<'END'\n${JSON.stringify({ apiVersion, kind: 'ExecCredential', status })}\nEND`;
}

const exec = { apiVersion, command: './plugin', interactiveMode: 'Never' };

t.test('a plugin whose token has no expiry runs once, until the server refuses the token', async (t) => {
  const { folder, file } = folderOf(t, { user: { exec } });
  script(folder, print({ token: 'one' }));
  const credentials = new Credentials(file);
  const all = await Promise.all([credentials.access(), credentials.access(), credentials.access()]);
  t.strictSame([...new Set(all.map(({ headers }) => headers['authorization']))], ['Bearer one']);
  const first = await credentials.access();
  t.equal(runs(folder), 1);
  script(folder, print({ token: 'two' }));
  credentials.refused(first);
  t.equal((await credentials.access()).token, 'two');
  credentials.refused(first);
  t.equal((await credentials.access()).token, 'two');
  t.equal(runs(folder), 2, 'a late refusal of the old token costs the new one nothing');
});

t.test('a token is used until it expires', async (t) => {
  for (const [hours, wanted] of [
    [1, 1],
    [-1, 3],
  ] as const) {
    const { folder, file } = folderOf(t, { user: { exec } });
    const expirationTimestamp = new Date(Date.now() + hours * 3_600_000).toISOString();
    script(folder, print({ token: 'one', expirationTimestamp }));
    const credentials = new Credentials(file);
    const before = runs(folder);
    for (let i = 0; i < 3; i++) await credentials.access();
    t.equal(runs(folder) - before, wanted);
  }
});

t.test('a plugin that hangs is killed with its children, and reported', async (t) => {
  const { folder, file } = folderOf(t, { user: { exec } });
  script(folder, `echo waiting for a browser >&2\nsleep 300 &\necho $! >"$0.child"\nwait`);
  const clock = new FakeClock();
  const access = new Credentials(file, clock).access();
  const refusal = t.rejects(access, {
    code: 'SLB_E_CREDENTIALS',
    message: /user "agent": exec: .*plugin gave no answer within 30 s/,
  });
  const child = path.join(folder, 'plugin.child');
  await until('its child', () => existsSync(child) && readFileSync(child, 'utf8').endsWith('\n'));
  clock.advance(30_001);
  await refusal;
  const pid = readFileSync(child, 'utf8').trim();
  const gone = (): boolean =>
    !existsSync(`/proc/${pid}`) || /State:\s+Z/.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  await until('the end of its child', gone);
});

const failures: readonly (readonly [string, string, RegExp])[] = [
  ['fails', 'echo no network >&2; exit 3', /ended with exit code 3: no network/],
  ['prints rubbish', 'echo hello', /printed no JSON/],
  ['prints nothing', ':', /printed no JSON/],
  ['prints something else', `echo '{"kind":"Pod"}'`, /no ExecCredential/],
  [
    'prints another version',
    `echo '{"kind":"ExecCredential","apiVersion":"x/v9","status":{"token":"a"}}'`,
    /apiVersion/,
  ],
  ['prints no credential', print({}), /neither a token nor a client certificate/],
  ['prints half an identity', print({ clientKeyData: 'x' }), /without the other/],
  [
    'prints a broken identity',
    print({ clientKeyData: 'x', clientCertificateData: 'y' }),
    /client-certificate: /,
  ],
  ['prints no time', print({ token: 'a', expirationTimestamp: 'soon' }), /"?soon"? is no time/],
  ['prints without end', 'yes', /printed more than/],
];

t.test('an error of a plugin is reported with its entry, and the next request runs it again', async (t) => {
  for (const [what, body, message] of failures) {
    const { folder, file } = folderOf(t, { user: { exec } });
    const before = runs(folder);
    script(folder, body);
    const credentials = new Credentials(file);
    await t.rejects(credentials.access(), { message: /user "agent"/ }, what);
    await t.rejects(credentials.access(), { message }, what);
    t.equal(runs(folder) - before, 2, what);
  }
  for (const [wrong, message] of [
    [{ command: './absent' }, /could not be run/],
    [{ command: undefined }, /command is missing/],
    [{ interactiveMode: 'Always' }, /terminal/],
    [{ interactiveMode: undefined }, /interactiveMode must be/],
    [{ apiVersion: 'client.authentication.k8s.io/v1alpha1' }, /apiVersion must be/],
  ] as const) {
    const { file } = folderOf(t, { user: { exec: { ...exec, ...wrong } } });
    await t.rejects(new Credentials(file).access(), { code: 'SLB_E_CREDENTIALS', message });
  }
});

t.test('KUBERNETES_EXEC_INFO, arguments and environment reach the plugin', async (t) => {
  const env = [{ name: 'REGION', value: 'north' }];
  const extensions = [{ name: 'client.authentication.k8s.io/exec', extension: { audience: 'a' } }];
  for (const provideClusterInfo of [false, true]) {
    const { folder, file } = folderOf(t, {
      user: { exec: { ...exec, args: ['token', '--for=x'], env, provideClusterInfo } },
      cluster: { extensions, 'tls-server-name': 'kubernetes' },
    });
    script(
      folder,
      `echo '{"apiVersion":"${apiVersion}","kind":"ExecCredential","status":{"token":"'"$REGION $*"'"}}'`,
    );
    t.equal((await new Credentials(file).access()).token, 'north token --for=x');
    const info = JSON.parse(readFileSync(path.join(folder, 'plugin.info'), 'utf8')) as unknown;
    const cluster = {
      server: 'https://127.0.0.1:6443',
      'tls-server-name': 'kubernetes',
      config: { audience: 'a' },
    };
    const spec = { interactive: false, ...(provideClusterInfo ? { cluster } : {}) };
    t.strictSame(info, { apiVersion, kind: 'ExecCredential', spec });
  }
});

function identity(folder: string, name: string): { cert: string; key: string } {
  const [key, cert] = [path.join(folder, `${name}.key`), path.join(folder, `${name}.crt`)];
  const algorithm = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  execFileSync(
    'openssl',
    ['req', '-x509', ...algorithm, '-keyout', key, '-out', cert, '-subj', `/CN=${name}`],
    {
      stdio: 'ignore',
    },
  );
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

t.test('a client certificate from a plugin', async (t) => {
  const { folder, file } = folderOf(t, { user: { exec } });
  const { cert, key } = identity(folder, 'agent');
  script(folder, print({ clientCertificateData: cert, clientKeyData: key }));
  t.match((await new Credentials(file).access()).tls, { cert, key });
});

t.test('TLS options that cannot work: a coded error that names the entry and the field', async (t) => {
  const folder = t.testdir();
  const [one, two] = [identity(folder, 'one'), identity(folder, 'two')];
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const [cert, key, ca] = [base64(one.cert), base64(one.key), base64(one.cert)];
  const clusters: readonly (readonly [object, RegExp])[] = [
    [{ 'certificate-authority': 'absent.crt' }, /certificate-authority: ENOENT/],
    [
      { 'certificate-authority-data': base64('rubbish') },
      /certificate-authority: it holds no PEM certificate/,
    ],
    [{ 'certificate-authority-data': ca, 'certificate-authority': 'x' }, /both certificate-authority and/],
    [{ 'certificate-authority-data': ca, 'insecure-skip-tls-verify': true }, /insecure-skip-tls-verify/],
    [{ 'tls-server-name': 'a b' }, /tls-server-name: "a b"/],
  ];
  for (const [cluster, message] of clusters) {
    const { file } = folderOf(t, { cluster });
    await t.rejects(new Credentials(file).access(), { code: 'SLB_E_TLS', message: /cluster "prod"/ });
    await t.rejects(new Credentials(file).access(), { message });
  }
  const users: readonly (readonly [object, RegExp])[] = [
    [{ 'client-certificate': 'absent.crt', 'client-key-data': key }, /client-certificate: ENOENT/],
    [{ 'client-certificate-data': cert, 'client-key': 'absent.key' }, /client-key: ENOENT/],
    [{ 'client-certificate-data': cert }, /without a client-key/],
    [{ 'client-key-data': key }, /without a client-certificate/],
    [{ 'client-certificate-data': base64('x'), 'client-key-data': key }, /client-certificate: /],
    [{ 'client-certificate-data': cert, 'client-key-data': base64('x') }, /client-key: /],
    [
      { 'client-certificate-data': cert, 'client-key-data': base64(two.key) },
      /client-certificate and client-key: /,
    ],
    [{ 'client-certificate-data': cert, 'client-certificate': 'x' }, /both client-certificate and/],
  ];
  for (const [user, message] of users) {
    const { file } = folderOf(t, { user });
    await t.rejects(new Credentials(file).access(), { code: 'SLB_E_TLS', message: /user "agent"/ });
    await t.rejects(new Credentials(file).access(), { message });
  }
  const { file } = folderOf(t, {
    cluster: { 'tls-server-name': '10.0.0.1', 'insecure-skip-tls-verify': true },
  });
  t.match((await new Credentials(file).access()).tls, { servername: '', rejectUnauthorized: false });
});

t.test('a token file is read again; while it is replaced the last token is used', async (t) => {
  const { folder, file } = folderOf(t, { user: { tokenFile: 'token', token: 'old' } });
  const token = path.join(folder, 'token');
  const credentials = new Credentials(file);
  t.equal(
    (await credentials.access()).token,
    'old',
    'as client-go: what the kubeconfig says, for want of the file',
  );
  for (const [text, wanted] of [
    ['monday\n', 'monday'],
    ['', 'monday'],
    ['tuesday', 'tuesday'],
  ] as const) {
    writeFileSync(token, text);
    t.equal((await credentials.access()).token, wanted);
  }
  const other = folderOf(t, { user: { tokenFile: 'absent' } });
  await t.rejects(new Credentials(other.file).access(), {
    code: 'SLB_E_CREDENTIALS',
    message: /absent: ENOENT/,
  });
});

t.test('401: a new token is fetched and used at once', async (t) => {
  const { kube, clock, sink, start, kubeconfig } = await lab(t);
  const folder = path.dirname(kubeconfig);
  script(
    folder,
    'printf \'{"apiVersion":"%s","kind":"ExecCredential","status":{"token":"%s"}}\' ' +
      `${apiVersion} "$(wc -l <"$0.runs" | tr -d ' ')"`,
  );
  await kube.writeKubeconfig(kubeconfig, { exec });
  await start();
  t.equal(runs(folder), 1);
  kube.store(services, service('a'));
  kube.intercept = (_query, response, { headers }) => {
    if (headers.authorization === 'Bearer 2') return false;
    refuse(response, 401, 'Unauthorized', 'Unauthorized');
    return true;
  };
  kube.expire(services);
  await until('the new state', () => sink.objects.has('Service/default/a'));
  t.equal(runs(folder), 2);
  t.equal(clock.waits.length, 1, 'for the expired history alone');
  t.same(sink.problemList, []);
});
