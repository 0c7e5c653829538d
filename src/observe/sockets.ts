// Counts of connected UDP sockets whose backend was removed: those that were ended, and those that could not be.
import { listen } from './channels.ts';
import { formatMetric } from './prometheus.ts';

export interface SocketCounts {
  text(): string;
  stop(): void;
}

export function countSockets(): SocketCounts {
  let destroyed = 0;
  let stranded = 0;
  const stops = [
    listen('sockets.destroyed', ({ sockets }) => (destroyed += sockets)),
    listen('sockets.stranded', ({ sockets }) => (stranded += sockets)),
  ];
  return {
    text: () =>
      formatMetric(
        'sluice_sockets_destroyed_total',
        'counter',
        'Connected UDP sockets that were ended because their backend was removed.',
        [['', destroyed]],
      ) +
      formatMetric(
        'sluice_sockets_stranded_total',
        'counter',
        'Connected UDP sockets whose backend was removed and that could not be ended.',
        [['', stranded]],
      ),
    stop: () => {
      for (const stop of stops) stop();
    },
  };
}
