import { execFileSync } from 'node:child_process'
import {
  chmod,
  mkdir,
  open,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ServerProcess } from '../../examples/demo/server.ts'
import type { Script } from '../../examples/scripted-model/script.ts'
import { retrai } from '../cli/support.ts'
import {
  audit,
  expectUnavailable,
  get,
  linesOf,
  post,
  runIn,
  Site,
  start,
  until,
  untilReady,
  untilStatus,
  watch,
  withLog,
} from './support.ts'

let site: Site
beforeEach(async () => {
  site = await Site.open()
})
afterEach(async () => {
  await site[Symbol.asyncDispose]()
})

const bash = (command: string) => ({ calls: [{ tool: 'bash_exec', args: { command } }] })

/**
 * Writes 50 kB to the log with each step, until there is a file `go`; then the goal is reached. Each
 * reply has its own number, so a command that ran twice writes the same line twice.
 */
function talkative(): Script {
  let replies = 0
  return () => ({
    ...bash(
      `echo ${replies++} >> effects; if test -f go; then touch done; else head -c 9000 /dev/urandom | base64; fi`,
    ),
    text: 'words '.repeat(7000),
  })
}

function shell(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

const canMount = ((): boolean => {
  try {
    shell('unshare', '--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt')
    return process.getuid?.() === 0
  } catch {
    return false
  }
})()
if (!canMount)
  process.stderr.write('SKIPPED: tests of a full and of a read-only disk: cannot mount\n')

async function mount(folder: string, ...options: readonly string[]): Promise<void> {
  await mkdir(folder, { recursive: true })
  shell('mount', ...options, folder)
  site.onClose(async () => shell('umount', '--lazy', folder))
}

/** The processor time of a process, seconds. */
async function usedBy({ process: { pid } }: ServerProcess): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Checks what a server answers and does while it cannot write and a run is active. */
async function expectToWait(server: ServerProcess, runId: string, cwd: string): Promise<void> {
  const file = site.path('data', 'log.sqlite')
  // The read model may run out of space first. The log reports it at the next append.
  await until(
    () => get(server, '/health/ready'),
    ({ status, body }) => status === 503 && JSON.stringify(body).includes(file),
  )
  const created = await post(server, '/api/runs', runIn(cwd))
  expectUnavailable(created)
  expect(created.body.detail).toContain(file)
  expectUnavailable(await post(server, `/api/runs/${runId}/abort`, {}))
  const read = await get(server, `/api/runs/${runId}`)
  expect(read.status).toBe(200)
  expect(read.body.status).toBe('running')
  const effects = await linesOf(join(cwd, 'effects'))
  const watcher = watch(server, runId)
  await watcher.have(10)
  const before = await usedBy(server)
  await delay(3000)
  expect((await usedBy(server)) - before).toBeLessThan(1)
  expect(await linesOf(join(cwd, 'effects'))).toEqual(effects)
  expect((await get(server, '/health/ready')).status).toBe(503)
}

async function expectToGoOn(server: ServerProcess, runId: string, cwd: string): Promise<void> {
  await untilReady(server)
  await writeFile(join(cwd, 'go'), '')
  await untilStatus(server, runId, 'achieved')
  await start(server, cwd)
  await server.stop()
  const records = await withLog(site.path('data'), (store) => audit(store, runId))
  const calls = records.filter(({ record }) => record.kind === 'tool_call').length
  const effects = await linesOf(join(cwd, 'effects'))
  expect(new Set(effects.slice(0, calls)).size).toBe(calls)
}

describe('a disk that is full', () => {
  /** A server with a run that writes to its log all the time. */
  async function busy() {
    const model = await site.model(talkative())
    const server = await site.serve('data', { model: model.url })
    const cwd = await site.project()
    const runId = await start(server, cwd, { max_iterations: 500 })
    await until(
      () => linesOf(join(cwd, 'effects')),
      (lines) => lines.length > 5,
    )
    return [server, runId, cwd] as const
  }

  test.skipIf(!canMount)(
    'makes runs wait until there is room, and affects nothing else',
    async () => {
      await mount(site.path('data'), '-t', 'tmpfs', '-o', 'size=16m', 'none')
      const run = await busy()
      const ballast = await open(site.path('data', 'ballast'), 'w')
      const filling = async () => {
        for (;;) await ballast.write(Buffer.alloc(16_384))
      }
      // Either the server or the filler uses the rest of the space.
      await expect(filling()).rejects.toThrow(/ENOSPC/)
      await ballast.close()
      await expectToWait(...run)
      await rm(site.path('data', 'ballast'))
      await expectToGoOn(...run)
    },
  )

  test('makes runs wait, also if it is a quota that does not let files grow', async () => {
    const run = await busy()
    const [server] = run
    const limit = (bytes: string) =>
      shell('prlimit', '--pid', String(server.process.pid), `--fsize=${bytes}:`)
    const { size } = await stat(site.path('data', 'log.sqlite-wal'))
    limit(String(size))
    await expectToWait(...run)
    limit('unlimited')
    await expectToGoOn(...run)
  })
})

describe('the start of a server names a data folder that cannot be used', () => {
  /** A data folder that a server has used. */
  async function used(): Promise<string> {
    const model = await site.model([bash('touch done')])
    const server = await site.serve('data', { model: model.url })
    const runId = await start(server, await site.project())
    await untilStatus(server, runId, 'achieved')
    await server.stop()
    return runId
  }

  async function refused(dataDir = site.path('data')): Promise<string> {
    const { code, stderr } = await retrai(['serve', '--port', '0', '--data-dir', dataDir])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^retrai: [^\n]*\n$/)
    return stderr
  }

  const log = () => site.path('data', 'log.sqlite')

  test('with a damaged log', async () => {
    await used()
    const bytes = await readFile(log())
    bytes.fill(0x5a, 8192, 8192 + 3000)
    await writeFile(log(), bytes)
    expect(await refused()).toMatch(new RegExp(`${log()} is damaged.*restore it from a backup`))
    expect(await readFile(log())).toEqual(bytes)
  })

  test('with a log that is cut off', async () => {
    await used()
    await truncate(log(), 20_000)
    expect(await refused()).toMatch(new RegExp(`${log()} is damaged.*restore it from a backup`))
  })

  test('with the log of another program', async () => {
    await mkdir(site.path('data'))
    const db = new DatabaseSync(log())
    db.exec('CREATE TABLE things (name TEXT)')
    db.close()
    expect(await refused()).toContain(`${log()} is the database of another program`)
  })

  test('with a log that is not a database', async () => {
    await site.write('data/log.sqlite', 'Dear Sir or Madam, '.repeat(1000))
    expect(await refused()).toContain(`${log()} is not an event store`)
  })

  test('with the read model of another program', async () => {
    await used()
    const file = site.path('data', 'read-model.sqlite')
    await rm(file)
    const db = new DatabaseSync(file)
    db.exec('CREATE TABLE things (name TEXT)')
    db.close()
    expect(await refused()).toMatch(new RegExp(`${file}.*another program: move it away`))
  })

  test('but rebuilds a damaged read model', async () => {
    const runId = await used()
    const file = site.path('data', 'read-model.sqlite')
    const { size } = await stat(file)
    await writeFile(file, Buffer.alloc(size, 0x5a))
    const server = await site.serve('data')
    await untilReady(server)
    expect((await get(server, `/api/runs/${runId}`)).body.status).toBe('achieved')
  })

  test.skipIf(!canMount)('on a disk that is mounted for reading', async () => {
    await used()
    await mount(site.path('data'), '--bind', site.path('data'))
    shell('mount', '-o', 'remount,ro,bind', site.path('data'))
    expect(await refused()).toMatch(
      new RegExp(`${log()} cannot be opened for writing.*write access`),
    )
    expect(await readdir(site.path('data'))).toContain('log.sqlite')
  })

  test.skipIf(process.getuid?.() === 0)('without write access', async () => {
    await used()
    await chmod(site.path('data'), 0o500)
    site.onClose(() => chmod(site.path('data'), 0o700))
    expect(await refused()).toMatch(
      new RegExp(`${log()} cannot be opened for writing.*write access`),
    )
  })
})
