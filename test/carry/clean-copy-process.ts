import { cleanCopies } from '../../src/carry/clean-copy.ts'
import type { Level } from '../../src/domain/isolation.ts'
import { Workspace } from '../../src/workspace/workspace.ts'
import { isolatedServer } from '../support/isolated-server.ts'

/** A server that copies a project, until it is killed. */
const [level = 'none', dataDir = '', cwd = ''] = process.argv.slice(2)
const { isolation, run, start } = await isolatedServer(level as Level, dataDir)
const openWorkspace = (project: { cwd: string }) => new Workspace(project, start)
const open = cleanCopies({ isolation, openWorkspace, runCommand: run })
const { signal } = new AbortController()
;(await open({ project: { cwd }, run: 'run', skip: [], signal }))._unsafeUnwrap()
