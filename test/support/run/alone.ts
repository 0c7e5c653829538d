// Imported first, it runs the test file once more in a network namespace of its own: programs that ask the routing
// table, and a test run that names a device, use those of the process. The namespace goes when the process does.
import { execFileSync, spawnSync } from 'node:child_process';

const mark = 'SLUICE_TEST_ALONE';

if (process.env[mark] === undefined) {
  const again = ['--net', process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const { status } = spawnSync('unshare', again, { stdio: 'inherit', env: { ...process.env, [mark]: '1' } });
  process.exit(status ?? 1);
}

// Frames of packet.ts are for this host, whichever device they come in by.
execFileSync('ip', ['link', 'set', 'lo', 'address', '02:00:00:00:00:01']);

/** ip(8) commands without the leading "ip", as one batch. */
export function ip(...lines: readonly string[]): void {
  execFileSync('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` });
}

export function sysctl(values: Readonly<Record<string, string | number>>): void {
  const writes = Object.entries(values).map(([key, value]) => `${key}=${String(value)}`);
  execFileSync('sysctl', ['-q', '-w', ...writes]);
}

export function indexOf(device: string): number {
  const found = JSON.parse(execFileSync('ip', ['-j', 'link', 'show', device], { encoding: 'utf8' })) as {
    readonly ifindex: number;
  }[];
  return found[0]?.ifindex ?? 0;
}
