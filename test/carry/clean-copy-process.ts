import { cleanCopies } from '../../src/carry/clean-copy.ts'
import type { Level } from '../../src/domain/isolation.ts'
import { commandRunner, DEFAULT_LIMITS, processStarter } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { chooseIsolation } from '../../src/sandbox/isolation.ts'
import { Workspace } from '../../src/workspace/workspace.ts'

/** A server that copies a project, until it is killed. */
const [level = 'none', dataDir = '', cwd = ''] = process.argv.slice(2)
const runner = new Runner({ error: () => {} })
const isolation = await chooseIsolation(level as Level, {
  ...{ runner, dataDir, env: process.env, toolPaths: [] },
})
const start = processStarter(DEFAULT_LIMITS, runner, isolation)
const open = cleanCopies({
  isolation,
  openWorkspace: (project) => new Workspace(project, start),
  runCommand: commandRunner(DEFAULT_LIMITS, runner, isolation),
})
const { signal } = new AbortController()
;(await open({ project: { cwd }, run: 'run', skip: [], signal }))._unsafeUnwrap()
