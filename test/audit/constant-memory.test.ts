import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const PROCESS = join(import.meta.dirname, 'export-process.ts')
/** Garbage is collected early, so that what is measured is what is held. */
const FLAGS = ['--max-old-space-size=96', '--max-semi-space-size=2']

/** The most memory that exporting and verifying a run of so many records takes, MB. */
async function memoryFor(records: number): Promise<number> {
  const done = await promisify(execFile)(process.execPath, [...FLAGS, PROCESS, String(records)])
  return Number(done.stdout)
}

test('exporting and verifying a run of 40,000 records, of 90 MB, takes no more memory than a short run', async () => {
  const short = await memoryFor(2_000)
  const long = await memoryFor(40_000)
  expect(long - short, `${short} MB and ${long} MB`).toBeLessThan(50)
})
