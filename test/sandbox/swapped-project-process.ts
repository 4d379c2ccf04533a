import { spawn } from 'node:child_process'
import { chmodSync, chownSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createToolbox } from '../../src/agent/tools/toolbox.ts'
import type { Level } from '../../src/domain/isolation.ts'
import { folderAt } from '../../src/sandbox/project-folder.ts'
import { Workspace } from '../../src/workspace/workspace.ts'
import { BARE } from '../agent/tools/bare-call.ts'
import { isolatedServer } from '../support/isolated-server.ts'

/**
 * A server whose agent swaps the folder of its sub-agent, `project/x`. Prints what the tools of the sub-agent answer, and what is
 * in the folder outside of the project. Arguments: the level, and the owner of the project.
 */
const [level = '', owner = ''] = process.argv.slice(2)
const base = await realpath(await mkdtemp(join(tmpdir(), 'retrai-swapped-')))
// At the level landlock, the owner of the project reaches it by its path.
chmodSync(base, 0o755)
const at = (...names: string[]): string => join(base, ...names)
for (const name of ['data', 'project/x', 'outside/.git']) await mkdir(at(name), { recursive: true })
await writeFile(at('outside/secret.txt'), 'CANARY')
await writeFile(at('project/x/own.txt'), 'mine')
for (const name of ['project', 'project/x', 'project/x/own.txt']) {
  chownSync(at(name), Number(owner), Number(owner))
}
const dataDir = at('data')
const server = await isolatedServer(level as Level, dataDir)
const { runner, isolation, run: runCommand, start: startProcess } = server
const toolbox = createToolbox({
  runCommand,
  startProcess,
  artifacts: { put: async () => '' },
})
const cwd = at('project/x')
const folder = folderAt(cwd)
const { signal } = new AbortController()

const CALLS = [
  ['bash_exec', { command: 'cat *.txt; pwd; echo p >planted-by-bash' }],
  ['file_read', { path: 'secret.txt' }],
  ['file_write', { path: 'planted-by-tool', content: 'p' }],
  ['file_list', {}],
  ['grep_search', { pattern: 'CANAR[Y]|mine' }],
  ['git_status', {}],
] as const

async function ask(): Promise<string[]> {
  const answers: string[] = []
  await using workspace = new Workspace({ cwd, folder }, startProcess)
  for (const [tool, args] of CALLS) {
    const call = { call_id: tool, tool, args, read_only: false }
    const { output } = await toolbox.execute(call, {
      ...BARE,
      cwd,
      workspace,
      signal,
      runId: 'run',
      folder,
    })
    answers.push(`${tool}: ${output}`)
  }
  const command = { file: 'bash', args: ['-c', 'cat *.txt; echo p >planted-by-check'] }
  const { output } = await runCommand({ ...command, cwd, folder, signal, timeoutMs: 60_000 })
  const started = await startProcess({ ...command, cwd, folder, signal })
  const { end, message } = await started.ended
  return [...answers, `check: ${output}`, `process: ${end} ${message}`]
}

/** Swaps the folder and a link all the time, until it is killed. */
const SWAP = `cd "$1"; while :; do mv x y; ln -s ../outside x; rm x; mv y x; done`

const before = await ask()
await rename(cwd, at('project/y'))
await symlink(at('outside'), cwd)
const linked = await ask()
await rm(cwd)
await mkdir(cwd)
const replaced = await ask()
await rm(cwd, { recursive: true })
await rename(at('project/y'), cwd)
const swapper = spawn('sh', ['-c', SWAP, 'sh', at('project')], { stdio: 'ignore' })
const raced: string[] = []
for (let round = 0; round < 4; round += 1) raced.push(...(await ask()))
swapper.kill('SIGKILL')
const outside = await readdir(at('outside'))
console.log(JSON.stringify({ level: isolation.level, before, linked, replaced, raced, outside }))
runner.close()
await rm(base, { recursive: true, force: true })
process.exit()
