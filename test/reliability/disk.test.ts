import { execFileSync } from 'node:child_process'
import { chmod, mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import type { Script } from '../../examples/scripted-model/script.ts'
import { retraiProcess } from '../cli/support.ts'
import {
  bash,
  linesOf,
  runIn,
  type Site,
  type SiteServer,
  until,
  untilLines,
} from '../support/site.ts'
import { test } from '../support/test.ts'
import { audit, expectUnavailable } from './support.ts'

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

async function mount(site: Site, folder: string, ...options: readonly string[]): Promise<void> {
  await mkdir(folder, { recursive: true })
  shell('mount', ...options, folder)
  site.onClose(() => shell('umount', '--lazy', folder))
}

/** The processor time of a process, seconds. */
async function usedBy({ process: { pid } }: SiteServer): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** A server with a run that writes to its log all the time. */
async function busy(site: Site) {
  const server = await site.serve('data', { model: await site.model(talkative()) })
  const runId = await server.start('project', { max_iterations: 500 })
  const effects = site.path('project', 'effects')
  await untilLines(effects, 5)
  return { server, runId, effects }
}

type Busy = Awaited<ReturnType<typeof busy>>

/** Checks what a server answers and does while it cannot write and a run is active. */
async function expectToWait(site: Site, { server, runId, effects }: Busy): Promise<void> {
  const file = site.path('data', 'log.sqlite')
  // The read model may run out of space first. The log reports it at the next append.
  await until(
    () => server.get('/health/ready'),
    ({ status, text }) => status === 503 && text.includes(file),
  )
  const created = await server.post('/api/runs', runIn(site.path('project')))
  expectUnavailable(created)
  expect(created.body.detail).toContain(file)
  expectUnavailable(await server.post(`/api/runs/${runId}/abort`, {}))
  const read = await server.get(`/api/runs/${runId}`)
  expect(read).toMatchObject({ status: 200, body: { status: 'running' } })
  const lines = await linesOf(effects)
  await server.watch(runId).have(10)
  const before = await usedBy(server)
  await delay(3000)
  expect((await usedBy(server)) - before).toBeLessThan(1)
  expect(await linesOf(effects)).toEqual(lines)
  expect((await server.get('/health/ready')).status).toBe(503)
}

async function expectToGoOn(site: Site, { server, runId, effects }: Busy): Promise<void> {
  await server.untilReady()
  await site.write('project/go', '')
  await server.untilStatus(runId, 'achieved')
  await server.start()
  await server.stop()
  const records = await site.withLog('data', (store) => audit(store, runId))
  const calls = records.filter(({ record }) => record.kind === 'tool_call').length
  expect(new Set((await linesOf(effects)).slice(0, calls)).size).toBe(calls)
}

describe('a disk that is full', () => {
  test.skipIf(!canMount)(
    'makes runs wait until there is room, and affects nothing else',
    async ({ site }) => {
      await mount(site, site.path('data'), '-t', 'tmpfs', '-o', 'size=16m', 'none')
      const run = await busy(site)
      const ballast = await open(site.path('data', 'ballast'), 'w')
      const filling = async () => {
        for (;;) await ballast.write(Buffer.alloc(16_384))
      }
      // Either the server or the filler uses the rest of the space.
      await expect(filling()).rejects.toThrow(/ENOSPC/)
      await ballast.close()
      await expectToWait(site, run)
      await rm(site.path('data', 'ballast'))
      await expectToGoOn(site, run)
    },
  )

  test('makes runs wait, also if it is a quota that does not let files grow', async ({ site }) => {
    const run = await busy(site)
    const { server } = run
    const limit = (bytes: string) =>
      shell('prlimit', '--pid', String(server.process.pid), `--fsize=${bytes}:`)
    const { size } = await stat(site.path('data', 'log.sqlite-wal'))
    limit(String(size))
    await expectToWait(site, run)
    limit('unlimited')
    await expectToGoOn(site, run)
  })
})

async function overwrite(file: string, from: number, to?: number): Promise<void> {
  await writeFile(file, (await readFile(file)).fill(0x5a, from, to))
}

describe('the start of a server names a data folder that cannot be used', () => {
  async function expectRefused(site: Site, reason: RegExp): Promise<void> {
    const { code, stderr } = await retraiProcess([
      'serve',
      '--port',
      '0',
      '--data-dir',
      site.path('data'),
    ])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^retrai: [^\n]*\n$/)
    expect(stderr).toMatch(new RegExp(site.path('data', 'log.sqlite') + reason.source))
  }

  test('with a damaged log, which stays as it is', async ({ usedFolder: _, site }) => {
    const log = site.path('data', 'log.sqlite')
    await overwrite(log, 8192, 8192 + 3000)
    const bytes = await readFile(log)
    await expectRefused(site, / is damaged.*restore it from a backup/)
    expect(await readFile(log)).toEqual(bytes)
  })

  const READ_ONLY = / failed .*write access/

  test.skipIf(!canMount)(
    'on a disk that is mounted for reading',
    async ({ usedFolder: _, site }) => {
      await mount(site, site.path('data'), '--bind', site.path('data'))
      shell('mount', '-o', 'remount,ro,bind', site.path('data'))
      await expectRefused(site, READ_ONLY)
      expect(await readdir(site.path('data'))).toContain('log.sqlite')
    },
  )

  test.skipIf(process.getuid?.() === 0)('without write access', async ({ usedFolder: _, site }) => {
    await chmod(site.path('data'), 0o500)
    site.onClose(() => chmod(site.path('data'), 0o700))
    await expectRefused(site, READ_ONLY)
  })
})
