import assert from 'node:assert/strict';
import test from 'node:test';
import { type FaultOptions, Faults } from '../../engine/faults.ts';
import type { LogFile, LogFiles } from '../../engine/storage/log-files.ts';
import { faultOptions } from '../testing/fault-options.ts';
import { FaultyLogFiles } from './faulty-log-files.ts';

/** One folder of files in memory, which know how much of them was synced. */
class PlainFiles implements LogFiles {
  readonly contents = new Map<string, Uint8Array>();
  readonly synced = new Map<string, Uint8Array>();
  folderSyncs = 0;

  list(): string[] {
    return [...this.contents.keys()];
  }

  create(name: string): LogFile {
    this.contents.set(name, new Uint8Array(64));
    return {
      name,
      write: (bytes, position) => {
        this.contents.get(name)?.set(bytes, position);
        return bytes.length;
      },
      sync: async () => void this.synced.set(name, this.read(name).slice()),
      close: () => {},
    };
  }

  reopen(name: string): LogFile {
    return this.create(name);
  }

  read(name: string): Uint8Array {
    return this.contents.get(name) ?? new Uint8Array();
  }

  size(name: string): number {
    return this.read(name).length;
  }

  remove(name: string): void {
    this.contents.delete(name);
  }

  async syncFolder(): Promise<void> {
    this.folderSyncs += 1;
  }
}

function faulty(options: Partial<FaultOptions>): { plain: PlainFiles; files: FaultyLogFiles } {
  const plain = new PlainFiles();
  return { plain, files: new FaultyLogFiles(plain, new Faults(faultOptions(options), 'worker 0', 0, () => {})) };
}

const BYTES = Uint8Array.from({ length: 32 }, (_, index) => index + 1);

test('without faults it is the folder behind it', async () => {
  const { plain, files } = faulty({});
  const file = files.create('a');
  assert.equal(file.name, 'a');
  assert.equal(file.write(BYTES, 8), 32);
  await file.sync();
  await files.syncFolder();
  file.close();
  assert.deepEqual(files.read('a'), plain.synced.get('a'));
  assert.deepEqual(files.read('a').subarray(8, 40), BYTES);
  assert.deepEqual([files.list(), files.size('a'), plain.folderSyncs], [['a'], 64, 1]);
  files.remove('a');
  assert.deepEqual(files.list(), []);
});

test('a sync that fails says EIO and has forced nothing', async () => {
  const { plain, files } = faulty({ faultSyncErrorPermille: 1000 });
  const file = files.create('a');
  assert.equal(file.write(BYTES, 0), 32);
  await assert.rejects(file.sync(), { code: 'EIO' });
  assert.equal(plain.synced.size, 0);
  assert.deepEqual(files.read('a').subarray(0, 32), BYTES, 'it was written all the same');
});

test('a slow sync comes later, and covers what was written before it', async () => {
  const { plain, files } = faulty({ faultSyncDelayMs: 20 });
  const file = files.create('a');
  file.write(BYTES, 0);
  const beganMs = performance.now();
  await file.sync();
  assert.ok(performance.now() - beganMs >= 19);
  assert.deepEqual(plain.synced.get('a')?.subarray(0, 32), BYTES);
});

test('a slow write holds up its thread, and is whole', () => {
  const { files } = faulty({ faultWriteDelayMs: 20 });
  const file = files.create('a');
  const beganMs = performance.now();
  assert.equal(file.write(BYTES, 0), 32);
  assert.ok(performance.now() - beganMs >= 19);
  assert.deepEqual(files.read('a').subarray(0, 32), BYTES);
});

test('writes find no room, or room for a part, which is then there', () => {
  const { files } = faulty({ faultWriteErrorPermille: 1000 });
  const file = files.create('a');
  const lengths = new Set<number>();
  let refused = 0;
  for (let time = 0; time < 200; time++) {
    try {
      const written = file.write(BYTES, 0);
      assert.ok(written > 0 && written < 32);
      assert.deepEqual(files.read('a').subarray(0, written), BYTES.subarray(0, written));
      lengths.add(written);
    } catch (error) {
      assert.equal(error instanceof Error && 'code' in error && error.code, 'ENOSPC');
      refused += 1;
    }
  }
  assert.ok(refused > 50 && lengths.size > 10, `${refused} refused, ${lengths.size} lengths`);
});
