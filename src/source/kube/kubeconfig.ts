// The kubeconfig as client-go reads it: the cluster and the user of its current context.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { messageOf, SluiceError } from '../../errors.ts';
import { at, isMapping, items, root, text, type Place } from '../parse/reader.ts';

/** One entry of the file, with its name for errors. */
export interface Entry {
  /** As errors name it: "user "agent" of /etc/kubeconfig". */
  readonly name: string;
  readonly place: Place;
  /** Relative paths in the entry start here. */
  readonly folder: string;
}

export interface Kubeconfig {
  readonly cluster: Entry;
  readonly user: Entry;
}

export function readKubeconfig(file: string): Kubeconfig {
  let config: Place;
  try {
    config = root(parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    throw new SluiceError('SLB_E_SOURCE', `kubeconfig ${file}: ${messageOf(cause)}`, { cause });
  }
  const current = text(at(config, 'current-context')) ?? '';
  const context = named(config, 'contexts', 'context', current, file);
  const user = text(at(context.place, 'user')) ?? '';
  return {
    cluster: named(config, 'clusters', 'cluster', text(at(context.place, 'cluster')) ?? '', file),
    user:
      user === ''
        ? { name: `kubeconfig ${file}, no user`, place: root({}), folder: path.dirname(file) }
        : named(config, 'users', 'user', user, file),
  };
}

function named(config: Place, list: string, kind: string, wanted: string, file: string): Entry {
  const found = items(at(config, list)).find((item) => text(at(item, 'name')) === wanted);
  const name = `kubeconfig ${file}, ${kind} "${wanted}"`;
  if (found === undefined || !isMapping(at(found, kind).value))
    throw new SluiceError('SLB_E_SOURCE', `${name}: there is no such entry`);
  return { name, place: at(found, kind), folder: path.dirname(file) };
}

/** A text of the entry; "" counts as absent. */
export function field({ place }: Entry, name: string): string | undefined {
  const value = at(place, name).value;
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** The content of the file that `name` gives, or of the base64 text of `name`-data. Throws SLB_E_TLS. */
export function content(entry: Entry, name: string): Buffer | undefined {
  const file = field(entry, name);
  const data = field(entry, `${name}-data`);
  if (file !== undefined && data !== undefined)
    throw new SluiceError('SLB_E_TLS', `${entry.name}: both ${name} and ${name}-data are set: remove one`);
  if (data !== undefined) return Buffer.from(data, 'base64');
  if (file === undefined) return undefined;
  try {
    return readFileSync(path.resolve(entry.folder, file));
  } catch (cause) {
    throw new SluiceError('SLB_E_TLS', `${entry.name}: ${name}: ${messageOf(cause)}`, { cause });
  }
}
