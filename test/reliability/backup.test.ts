import { chmod, cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect } from 'vitest'
import { retrai } from '../cli/support.ts'
import { dense } from '../store/contract/support.ts'
import { bash, linesOf, type Site, untilLines } from '../support/site.ts'
import { test } from '../support/test.ts'
import { audit, fails } from './support.ts'

const backup = (site: Site, file: string, ...more: readonly string[]) =>
  retrai(['backup', file, '--data-dir', site.path('data'), ...more])

const change = (file: string, sql: string): void => {
  using db = new DatabaseSync(file)
  db.exec(sql)
}

test('a backup that is made during runs holds the log at one moment, and a server can continue from it', async ({
  site,
}) => {
  const steps = dense(0, 6).map((n) => bash(`echo ${n} >> effects; sleep 0.02`))
  const model = await site.model([...steps, bash('touch done')])
  const server = await site.serve('data', { model })
  const runIds = await Promise.all(
    dense(0, 7).map((n) => server.start(`project-${n}`, { max_iterations: 30 })),
  )
  const last = site.path('project-7', 'effects')
  await untilLines(last, 1)
  const seqOf = async (runId: string, from = server) =>
    Number((await from.get(`/api/runs/${runId}`)).headers.get('etag')?.slice(1, -1))
  const acknowledged = await Promise.all(runIds.map((runId) => seqOf(runId)))
  const file = site.path('log.backup')
  expect(await backup(site, file)).toEqual({
    code: 0,
    stderr: '',
    // The runs, the id of the log, and the access log if it exists by then.
    stdout: expect.stringMatching(
      /holds \d+ events in (9|10) streams, up to position \d+; checked/,
    ),
  })
  expect(await readdir(site.folder)).not.toContainEqual(expect.stringContaining('partial'))
  expect((await server.get('/api/runs?status=running')).body).not.toHaveLength(0)
  await untilLines(last, (await linesOf(last)).length)
  await server.kill()

  await mkdir(site.path('restored'))
  await cp(file, site.path('restored', 'log.sqlite'))
  const restored = await site.serve('restored', { model })
  await restored.untilReady()
  for (const [index, runId] of runIds.entries()) {
    expect(await seqOf(runId, restored)).toBeGreaterThanOrEqual(acknowledged[index] ?? 0)
    await restored.untilStatus(runId, 'achieved')
  }
  await restored.stop()
  await site.withLog('restored', async (store) => {
    for (const runId of runIds) await audit(store, runId)
  })
})

test('an existing file is kept, unless --force replaces it', async ({ usedFolder: _, site }) => {
  const file = await site.write('log.backup', 'dear')
  expect(await backup(site, site.path('nowhere', 'log.backup'))).toMatchObject(
    fails('it needs an existing folder'),
  )
  expect(await backup(site, file)).toMatchObject(fails(`${file} exists already`))
  expect(await readFile(file, 'utf8')).toBe('dear')
  expect((await backup(site, file, '--force')).code).toBe(0)
  expect((await backup(site, site.path('again.backup'))).code).toBe(0)
  expect((await readFile(file)).equals(await readFile(site.path('again.backup')))).toBe(true)
  await chmod(site.path('data', 'log.sqlite'), 0o644)
  expect((await stat(site.path('data'))).mode & 0o777).toBe(0o700)
  expect((await backup(site, file, '--force')).code).toBe(0)
  expect((await stat(file)).mode & 0o777).toBe(0o600)
})

/** What is wrong with a log, how it becomes so, and what a backup reports. */
const WRONG: readonly (readonly [string, (log: string) => unknown, RegExp])[] = [
  [
    'is missing',
    (log) => rm(dirname(log), { recursive: true }),
    /there is no event store .*log\.sqlite/,
  ],
  [
    'is of another program',
    async (log) => {
      await rm(log)
      change(log, 'CREATE TABLE things (name TEXT)')
    },
    /another program/,
  ],
  [
    'is damaged',
    async (log) => {
      const bytes = await readFile(log)
      await writeFile(log, bytes.fill(0x5a, bytes.length - 3000))
    },
    /damaged/,
  ],
]

test.for(WRONG)(
  'a log that %s is not backed up, which leaves no file',
  async ([_, damage, reason], { usedFolder: __, site }) => {
    await damage(site.path('data', 'log.sqlite'))
    const before = await readdir(site.folder)
    const refused = await backup(site, site.path('log.backup'))
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringMatching(reason) })
    expect(await readdir(site.folder)).toEqual(before)
  },
)

test('a backup does not replace the log of another server', async ({ usedFolder: _, site }) => {
  const other = await site.serve('other')
  const log = site.path('other', 'log.sqlite')
  const { ino } = await stat(log)
  expect(await backup(site, log, '--force')).toMatchObject(fails(`${log} is a database in use`))
  expect((await stat(log)).ino).toBe(ino)
  await other.start('other-project')

  await other.stop()
  expect((await backup(site, log, '--force')).code).toBe(0)
})
