import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { chooseIsolation } from '../../../src/runner/isolation/isolation.ts'
import { commandRunner, DEFAULT_LIMITS } from '../../../src/runner/run-command.ts'
import { Runner } from '../../../src/runner/runner.ts'
import { isMissing } from '../../support/missing.ts'
import { temporaryFolder } from '../support.ts'

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
  setImmediate(swap)
}
console.log('ready')
swap()
`
const ROUNDS = 12

test.skipIf(isMissing('bwrap'))(
  'a project that is constantly replaced by a link to the data folder never shows the data folder',
  { timeout: 120_000 },
  async () => {
    const base = await temporaryFolder()
    const [dataDir, project] = [join(base, 'data'), join(base, 'project')]
    const keys = join(dataDir, 'keys')
    for (const folder of [keys, project]) await mkdir(folder, { recursive: true })
    await writeFile(join(project, 'notes'), 'own')
    await writeFile(join(keys, 'notes'), 'CANARY')
    const runner = new Runner({ info: () => {}, error: () => {} })
    onTestFinished(() => runner.close())
    const isolation = await chooseIsolation('namespaces', {
      ...{ runner, dataDir, env: process.env, toolPaths: [] },
    })
    const run = commandRunner(DEFAULT_LIMITS, runner, isolation)
    const { signal } = new AbortController()
    const args = ['-c', 'cat notes; echo written >>notes']
    const command = { file: 'bash', args, cwd: project, timeoutMs: 60_000, signal }
    const swapper = spawn(process.execPath, ['--input-type=module', '-e', SWAP, project, keys], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    onTestFinished(() => void swapper.kill('SIGKILL'))
    await once(swapper.stdout, 'data')
    const ends = new Set<string>()
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const result of await Promise.all([1, 2, 3, 4].map(() => run(command)))) {
        ends.add(result.end)
        expect(result.output).not.toContain('CANARY')
      }
    }
    swapper.stdin.write('end')
    await once(swapper, 'exit')
    expect(await readFile(join(keys, 'notes'), 'utf8')).toBe('CANARY')
    expect(ends).toContain('exited')
  },
)
