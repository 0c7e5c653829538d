// The cgroup hooks of sockets.

/**
 * enum bpf_attach_type, in the order of attachment: the hooks of replies and of closing first, those of connect() last.
 */
export const attachTypes = {
  'sock-close': 34,
  'sock-ops': 3,
  getpeer4: 29,
  getpeer6: 30,
  recvmsg4: 19,
  recvmsg6: 20,
  sendmsg4: 14,
  sendmsg6: 15,
  connect4: 10,
  connect6: 11,
} as const;
export type SocketHook = keyof typeof attachTypes;
export const socketHooks = Object.keys(attachTypes) as SocketHook[];

export function programName(hook: SocketHook): string {
  return `slb_${hook.replace('-', '_')}`;
}
