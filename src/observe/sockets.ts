// Sockets that were ended because their backend had gone, counted.
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
        'connected UDP sockets that were ended because their backend had gone, for their programs to dial again',
        [['', destroyed]],
      ) +
      formatMetric(
        'sluice_sockets_stranded_total',
        'counter',
        'connected UDP sockets whose backend had gone and that could not be ended',
        [['', stranded]],
      ),
    stop: () => {
      for (const stop of stops) stop();
    },
  };
}
