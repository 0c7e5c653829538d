// Under a profiler's signals the verifier gives up with EAGAIN, and a long test run with EINTR: a child does all that
// the agent does with the kernel while another process sends it signals, thousands a second.
import t from 'tap';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { once } from 'node:events';
import { end } from '../support/run/process.ts';

const modulePath =
  process.env['SLUICE_NATIVE'] ??
  fileURLToPath(new URL('../../native/build/Release/sluice.node', import.meta.url));
const objectPath = fileURLToPath(new URL('../../bpf/out/tc.bpf.o', import.meta.url));

const work = `
  const native = require(${JSON.stringify(modulePath)});
  const elf = require('node:fs').readFileSync(${JSON.stringify(objectPath)});
  let taken = 0;
  const signal = process.argv[1];
  process.on(signal, () => taken++);
  process.on('message', () => {
    for (let round = 0; round < 3; round++) {
      const object = native.openObject(elf, 'signals');
      for (const name of object.maps())
        if (name.startsWith('slb_')) object.setMaxEntries(name, Math.min(64, object.definition(name).maxEntries));
      object.load();
      object.program('slb_tc_in').testRun({ data: new Uint8Array(64), repeat: 300000 });
      native.loadProgram({ type: 3, name: 'signals', instructions: Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0) });
      object.close();
    }
    const map = native.createMap({ type: 1, name: 'rows', keySize: 4, valueSize: 8, maxEntries: 100000 });
    const keys = new Uint8Array(Uint32Array.from({ length: 50000 }, (_, i) => i).buffer);
    let count = 0;
    for (let round = 0; round < 20; round++) {
      count += map.putBatch(keys, new Uint8Array(8 * 50000), 50000);
      for (let cursor; ; ) {
        const page = map.readBatch(cursor, 4096);
        if ((cursor = page.cursor) === undefined) break;
      }
      count += map.deleteBatch(keys, 50000);
      native.devices();
      native.addresses();
      native.defaultRouteDevices();
    }
    native.canDestroySockets();
    setImmediate(() => setImmediate(() => process.send({ count, taken }, () => process.exit())));
  });
  process.send('ready');`;

const storm = `
import os, signal, sys, time
while True:
    os.kill(int(sys.argv[1]), getattr(signal, sys.argv[2]))
    time.sleep(0.0002)`;

for (const signal of ['SIGPROF', 'SIGALRM'] as const) {
  t.test(`loads, batches, test runs and dumps go through under ${signal}`, async (t) => {
    const child = spawn(process.execPath, ['-e', work, signal], {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const ended = once(child, 'exit');
    t.teardown(() => end(child, 'SIGKILL'));
    await once(child, 'message');
    const sender = spawn('python3', ['-c', storm, String(child.pid), signal], { stdio: 'ignore' });
    t.teardown(() => end(sender, 'SIGKILL'));
    const reports: { count: number; taken: number }[] = [];
    child.on('message', (report: { count: number; taken: number }) => reports.push(report));
    child.send('go');
    const [code] = (await ended) as [number | null];
    t.equal(code, 0, stderr);
    t.equal(reports[0]?.count, 2_000_000, 'each row written and deleted');
    t.ok((reports[0]?.taken ?? 0) > 0, 'signals came, and were handed on');
  });
}
