// Exit codes, and errors as text.
import { SluiceError, messageOf, type ErrorCode } from '../errors.ts';

export const exitCodes = Object.freeze({ ok: 0, failed: 1, usage: 2, unreachable: 3 });

export const exitHelp = `
Exit codes:
  0  success
  1  failed, or the node is not ready
  2  invalid usage or configuration
  3  the agent cannot be reached`;

const usageErrors: readonly ErrorCode[] = ['SLB_E_CONFIG', 'SLB_E_USAGE', 'SLB_E_API'];

export function exitCodeOf(error: unknown): number {
  if (!(error instanceof SluiceError)) return exitCodes.failed;
  if (usageErrors.includes(error.code)) return exitCodes.usage;
  return error.code === 'SLB_E_UNREACHABLE' ? exitCodes.unreachable : exitCodes.failed;
}

/** Two lines: what went wrong, and what to do about it. The stack is for those who debug Sluice (--log-level debug). */
export function describeError(error: unknown, withStack: boolean, command = 'COMMAND'): string {
  const stack = withStack && error instanceof Error ? `${error.stack ?? ''}\n` : '';
  if (!(error instanceof SluiceError)) return `sluice: ${messageOf(error)}\n${stack}`;
  const meaning = error.meaning.replace('sluice COMMAND', `sluice ${command}`);
  return `sluice: ${error.code}: ${error.detail}\n  ${meaning}\n${stack}`;
}
