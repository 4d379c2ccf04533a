import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { isolated } from '../runner/support.ts'
import { isMissing } from '../support/missing.ts'

/** Replaces a project by a link to another folder and back, as fast as it can. */
const SWAP = `
import { renameSync, symlinkSync, unlinkSync } from 'node:fs'
const [project, other] = process.argv.slice(1)
let over = false
process.stdin.on('data', () => { over = true })
function swap() {
  if (over) return process.exit()
  renameSync(project, project + '-away')
  symlinkSync(other, project)
  unlinkSync(project)
  renameSync(project + '-away', project)
  // Now and then, the project stays for long enough to be opened.
  setTimeout(swap, Math.random() < 0.5 ? 0 : 5)
}
console.log('ready')
swap()
`
const ROUNDS = 12

test.skipIf(isMissing('bwrap'))(
  'a project that is constantly replaced by a link to the data folder never shows the data folder',
  { timeout: 120_000 },
  async () => {
    const { dataDir, project, bash } = await isolated()
    const keys = join(dataDir, 'keys')
    await mkdir(keys)
    await writeFile(join(project, 'notes'), 'own')
    await writeFile(join(keys, 'notes'), 'CANARY')
    const look = () => bash('cat notes; echo written >>notes')
    const swapper = spawn(process.execPath, ['--input-type=module', '-e', SWAP, project, keys], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    onTestFinished(() => void swapper.kill('SIGKILL'))
    await once(swapper.stdout, 'data')
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const result of await Promise.all([1, 2, 3, 4].map(look))) {
        expect(result.output).not.toContain('CANARY')
      }
    }
    swapper.stdin.write('end')
    await once(swapper, 'exit')
    expect(await readFile(join(keys, 'notes'), 'utf8')).toBe('CANARY')
    // With its project in its place again, a command runs there.
    expect(await look()).toMatchObject({
      end: 'exited',
      stdout: expect.stringMatching(/^own/),
    })
  },
)
