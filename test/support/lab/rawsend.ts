// Packets from a machine's raw sockets, as they are.
import { fileURLToPath } from 'node:url';
import type { Machine } from './lab.ts';

/** Python, for Node has no raw sockets: packets as lines of hex, and what comes to a port. */
export const rawScript = fileURLToPath(new URL('rawip.py', import.meta.url));

/** Sends frames without their Ethernet header; with a port, answers what then came to it. */
export async function sendRaw(
  from: Machine,
  frames: readonly Uint8Array[],
  listen?: { readonly port: number; readonly count: number },
): Promise<string[]> {
  const flags =
    listen === undefined ? [] : ['--listen', String(listen.port), '--count', String(listen.count)];
  const input = frames.map((frame) => `${Buffer.from(frame.subarray(14)).toString('hex')}\n`).join('');
  const { stdout } = await from.netns.run(['python3', rawScript, ...flags], { input });
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Buffer.from(line, 'hex').toString('latin1'));
}
