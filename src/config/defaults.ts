// Defaults that the other commands need without loading the schema.

export const defaultBpffs = '/sys/fs/bpf/sluice';
export const defaultCgroup = 'auto';
export const defaultApiHost = '127.0.0.1';
export const defaultApiPort = 9_961;
