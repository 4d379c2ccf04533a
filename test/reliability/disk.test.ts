import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import type { Script } from '../../examples/scripted-model/script.ts'
import { cleanEnv, retraiProcess } from '../cli/support.ts'
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
import { canMount, limitFiles, READ_ONLY, smallDisk } from './disks.ts'
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

/** The processor time of a process, seconds. */
async function usedBy({ process: { pid } }: SiteServer): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** A server with a run that writes to its log all the time. */
async function busy(site: Site, launcher: readonly string[] = []) {
  const server = await site.serve('data', { model: await site.model(talkative()), launcher })
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

/** @param log the folder with its log after its end */
async function expectToGoOn(
  site: Site,
  { server, runId, effects }: Busy,
  log = async () => 'data',
): Promise<void> {
  await server.untilReady()
  await site.write('project/go', '')
  await server.untilStatus(runId, 'achieved')
  await server.start()
  await server.stop()
  const records = await site.withLog(await log(), (store) => audit(store, runId))
  const calls = records.filter(({ record }) => record.kind === 'tool_call').length
  expect(new Set((await linesOf(effects)).slice(0, calls)).size).toBe(calls)
}

describe('a disk that is full', () => {
  test('makes runs wait until there is room, and affects nothing else', async ({ site, skip }) => {
    const disk = await smallDisk(site, site.path('data'))
    if (disk === null) return skip()
    const run = await busy(site, disk.launcher)
    await disk.fill()
    await expectToWait(site, run)
    await disk.empty()
    await expectToGoOn(site, run, async () => {
      await disk.copyTo(site.path('copy'))
      return 'copy'
    })
  })

  test('makes runs wait, also if it is a quota that does not let files grow', async ({ site }) => {
    const run = await busy(site)
    limitFiles(run.server, (await stat(site.path('data', 'log.sqlite-wal'))).size)
    await expectToWait(site, run)
    limitFiles(run.server, 'unlimited')
    await expectToGoOn(site, run)
  })
})

async function overwrite(file: string, from: number, to?: number): Promise<void> {
  await writeFile(file, (await readFile(file)).fill(0x5a, from, to))
}

describe('the start of a server names a data folder that cannot be used', () => {
  async function expectRefused(site: Site, reason: RegExp, launcher?: readonly string[]) {
    const args = ['serve', '--port', '0', '--data-dir', site.path('data')]
    const { code, stderr } = await retraiProcess(args, cleanEnv(), launcher)
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

  const READ_ONLY_DISK = / failed .*write access/

  test.skipIf(!canMount)(
    'on a disk that is mounted for reading',
    async ({ usedFolder: _, site }) => {
      await expectRefused(site, READ_ONLY_DISK, READ_ONLY(site.path('data')))
      expect(await readdir(site.path('data'))).toContain('log.sqlite')
    },
  )

  test.skipIf(process.getuid?.() === 0)('without write access', async ({ usedFolder: _, site }) => {
    await chmod(site.path('data'), 0o500)
    site.onClose(() => chmod(site.path('data'), 0o700))
    await expectRefused(site, READ_ONLY_DISK)
  })
})
