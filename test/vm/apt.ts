/** Debian packages of any suite, unpacked into a folder and never installed. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, runLong } from './shell.ts';

/** Debian's mirror as this machine's apt knows it, so that its proxies and its settings hold. */
export function mirror(): string {
  const given = process.env['SLUICE_DEBIAN_MIRROR'];
  if (given !== undefined) return given;
  const lists = ['/etc/apt/sources.list', '/etc/apt/sources.list.d'].flatMap((path) => {
    if (!existsSync(path)) return [];
    if (path.endsWith('.list')) return [readFileSync(path, 'utf8')];
    return readdirSync(path).map((name) => readFileSync(join(path, name), 'utf8'));
  });
  const found = /https?:\/\/\S+\/debian\/?(?=\s)/.exec(lists.join('\n'));
  if (found === null)
    throw new Error('no Debian mirror in the sources of apt: set SLUICE_DEBIAN_MIRROR to one');
  return found[0];
}

export const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * An apt that knows one suite and nothing of this machine's packages, so that the newest version is what that suite
 * has.
 */
function configure(suite: string, dir: string): Readonly<Record<string, string>> {
  for (const sub of ['lists/partial', 'archives/partial']) mkdirSync(join(dir, sub), { recursive: true });
  writeFileSync(join(dir, 'sources.list'), `deb [signed-by=${KEYRING}] ${mirror()} ${suite} main\n`);
  writeFileSync(join(dir, 'status'), '');
  writeFileSync(
    join(dir, 'apt.conf'),
    `Dir::Etc::SourceList "${dir}/sources.list"; Dir::Etc::SourceParts "/dev/null";
     Dir::State::Lists "${dir}/lists"; Dir::State::status "${dir}/status"; Dir::Cache "${dir}";
     Acquire::Languages "none"; Acquire::Check-Valid-Until "false"; APT::Sandbox::User "root";\n`,
  );
  return { APT_CONFIG: join(dir, 'apt.conf') };
}

/** The package and those of its dependencies, theirs included, whose names match. */
function closure(name: string, wanted: RegExp, env: Readonly<Record<string, string>>): string[] {
  const found = new Set<string>();
  const visit = (one: string): void => {
    if (found.has(one)) return;
    found.add(one);
    for (const [, dependency = ''] of run('apt-cache', ['depends', '--important', one], env).matchAll(
      /Depends: (\S+)/g,
    )) {
      if (wanted.test(dependency)) visit(dependency);
    }
  };
  visit(name);
  return [...found];
}

/** Unpacks a package of a suite, with the dependencies that match, into `root`; returns what it unpacked. */
export function unpack(suite: string, name: string, dependencies: RegExp, root: string): string[] {
  const work = `${root}.apt`;
  rmSync(work, { recursive: true, force: true });
  const env = configure(suite, work);
  runLong(300, `reading the package lists of ${suite}`, ['apt-get', 'update', '-qq'], env);
  const packages = closure(name, dependencies, env);
  mkdirSync(root, { recursive: true });
  const script = 'cd "$1" && apt-get download -qq "$2" && dpkg -x "$2"_*.deb "$3"';
  for (const one of packages)
    runLong(900, `downloading ${one}`, ['sh', '-ec', script, 'sh', work, one, root], env);
  rmSync(work, { recursive: true, force: true });
  return packages;
}
