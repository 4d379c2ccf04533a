import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Runs `work` in a folder that is removed afterwards. */
export async function inTemporaryFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'retrai-bench-'))
  try {
    return await work(folder)
  } finally {
    // A server that was killed may have a runner that removes folders of its own for a moment more.
    await rm(folder, { recursive: true, force: true, maxRetries: 20 })
  }
}
