import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { commandPath } from '../../src/runner/command.ts'
import { SESSION, sessionGivesWay } from '../../src/runner/processes.ts'
import { buildConsole, buildProgram, COMPILE_CACHE } from './build.ts'
import { findMissing } from './missing.ts'

/** Before its first run, a server asks each of them for its version, which takes longer than most tests. */
const SLOW_PROGRAMS = 'npm bun deno uv go cargo rustc java make gcc'.split(' ')

/** A folder that all containers show, where tests of a root user may make sockets. */
export const SYSTEM_FOLDER = '/opt/retrai-test'

/** Before all tests: finds out which tools are missing, and builds the program and the console that the tests start. */
export default async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  process.env.PATH = pathWithoutShims(process.env.PATH ?? '')
  process.env.NODE_COMPILE_CACHE = COMPILE_CACHE
  const missing = findMissing()
  provide('missing', missing)
  // Not `provide`: code that starts the program also runs without Vitest.
  process.env.RETRAI_TEST_PROGRAM = await buildProgram()
  if (!missing.includes('chromium')) await buildConsole()
  const programs = await mkdtemp(join(tmpdir(), 'retrai-programs-'))
  await linkPrograms(programs)
  process.env.RETRAI_TEST_PATH = programs
  const nice = nicenessOfSession()
  sessionGivesWay('self')
  return async () => {
    if (nice !== null) writeFileSync(SESSION, nice)
    for (const folder of [programs, SYSTEM_FOLDER])
      await rm(folder, { recursive: true, force: true })
  }
}

/**
 * Commands give way to all other sessions. Here, these would be the tests, which wait for them: so their session gives way,
 * too. Null if Linux does not share the processor out by sessions.
 */
function nicenessOfSession(): string | null {
  try {
    return /nice (-?\d+)$/m.exec(readFileSync(SESSION, 'utf8'))?.[1] ?? null
  } catch {
    return null
  }
}

/** Links to all programs that commands find, except the slow ones. */
async function linkPrograms(folder: string): Promise<void> {
  const linked = new Set(SLOW_PROGRAMS)
  for (const from of commandPath(process.env.PATH).split(delimiter)) {
    const names = await readdir(from).catch(() => [])
    const added = names.filter((name) => !linked.has(name))
    await Promise.all(added.map((name) => symlink(join(from, name), join(folder, name))))
    for (const name of added) linked.add(name)
  }
}

/** A shim of pyenv starts dozens of shells before each program, so the tests use the programs themselves. */
function pathWithoutShims(path: string): string {
  const folders = path.split(delimiter)
  const isShims = (folder: string): boolean => folder.endsWith('pyenv/shims')
  if (!folders.some(isShims)) return path
  try {
    const python = execFileSync('pyenv', ['which', 'python3'], { encoding: 'utf8' }).trim()
    return folders.map((folder) => (isShims(folder) ? dirname(python) : folder)).join(delimiter)
  } catch {
    return path
  }
}
