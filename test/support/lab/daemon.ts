// Server programs in namespaces of the lab, which ends them when it closes.
import { isRunning, until } from '../run/process.ts';
import type { Machine } from './lab.ts';

/** Starts a server that stays in the foreground, and waits until it listens at a TCP port. */
export async function startDaemon(
  { netns, name }: Machine,
  port: number,
  command: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  const child = netns.spawn(command, { stdio: ['ignore', 'ignore', 'pipe'], env });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4_000)));
  await until(`${command[0] ?? ''} in ${name}`, async () => {
    if (!isRunning(child)) throw new Error(`${command.join(' ')} has ended:\n${said}`);
    return (await netns.run(['ss', '-Hltn', `sport = :${String(port)}`])).stdout !== '';
  });
}
