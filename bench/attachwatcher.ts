// A child process in the namespace of the node: sees the kernel's messages as the agent does.
import { native } from '../native/index.ts';
import { serve } from '../test/support/actors/remote.ts';

interface Seen {
  readonly ifindex: number;
  readonly at: string; // nanoseconds of the machine's clock
}

let seen: Promise<Seen> | undefined;

function messageAbout(device: string): Promise<Seen> {
  return new Promise((resolve) => {
    const monitor = native().monitorLinks(({ links }) => {
      const at = String(process.hrtime.bigint());
      const ifindex = links.find(({ name }) => name === device)?.index;
      if (ifindex === undefined) return;
      monitor.close();
      resolve({ ifindex, at });
    });
  });
}

export const verbs = {
  /** Watches from when this is answered. */
  expect(device: string) {
    seen = messageAbout(device);
  },
  seen: () => seen,
};

export type Verbs = typeof verbs;

serve(verbs);
