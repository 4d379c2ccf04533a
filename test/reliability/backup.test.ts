import { chmod, cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { retrai } from '../cli/support.ts'
import { dense } from '../store/contract/support.ts'
import {
  audit,
  get,
  kill,
  linesOf,
  Site,
  start,
  until,
  untilReady,
  untilStatus,
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

const backup = (file: string, ...more: readonly string[]) =>
  retrai(['backup', file, '--data-dir', site.path('data'), ...more])

/** A data folder with one run that has ended. */
async function usedFolder(): Promise<string> {
  const model = await site.model([bash('touch done')])
  const server = await site.serve('data', { model: model.url })
  const runId = await start(server, await site.project())
  await untilStatus(server, runId, 'achieved')
  await server.stop()
  return runId
}

test('a backup that is made during runs holds the log at one moment, and a server can continue from it', async () => {
  const model = await site.model([
    ...dense(0, 6).map((n) => bash(`echo ${n} >> effects; sleep 0.02`)),
    bash('touch done'),
  ])
  const server = await site.serve('data', { model: model.url })
  const runIds = await Promise.all(
    dense(0, 7).map(async (n) =>
      start(server, await site.project(`project-${n}`), { max_iterations: 30 }),
    ),
  )
  const last = site.path('project-7', 'effects')
  await until(
    () => linesOf(last),
    (lines) => lines.length > 1,
  )
  const acknowledged = await Promise.all(
    runIds.map(async (runId) => {
      const { headers } = await get(server, `/api/runs/${runId}`)
      return Number(headers.get('etag')?.slice(1, -1))
    }),
  )
  const file = site.path('log.backup')
  const made = await backup(file)
  expect(made.stderr).toBe('')
  expect(made.code).toBe(0)
  // The runs, the id of the log, and the access log if it exists by then.
  expect(made.stdout).toMatch(/holds \d+ events in (9|10) streams, up to position \d+; checked/)
  expect(await readdir(site.folder)).not.toContainEqual(expect.stringContaining('partial'))
  const unfinished = await get(server, '/api/runs?status=running')
  expect(unfinished.body).not.toHaveLength(0)
  const lines = await linesOf(last)
  await until(
    () => linesOf(last),
    (later) => later.length > lines.length,
  )
  await kill(server)

  await mkdir(site.path('restored'))
  await cp(file, site.path('restored', 'log.sqlite'))
  const restored = await site.serve('restored', { model: model.url })
  await untilReady(restored)
  for (const [index, runId] of runIds.entries()) {
    const { headers } = await get(restored, `/api/runs/${runId}`)
    const seq = Number(headers.get('etag')?.slice(1, -1))
    expect(seq).toBeGreaterThanOrEqual(acknowledged[index] ?? 0)
    await untilStatus(restored, runId, 'achieved')
  }
  await restored.stop()
  await withLog(site.path('restored'), async (store) => {
    for (const runId of runIds) await audit(store, runId)
  })
})

test('if a backup replaces the log, the read model is rebuilt', async () => {
  const first = await usedFolder()
  const file = site.path('log.backup')
  expect((await backup(file)).code).toBe(0)
  const model = await site.model([bash('touch done')])
  const server = await site.serve('data', { model: model.url })
  const second = await start(server, await site.project('second'))
  await untilStatus(server, second, 'achieved')
  await server.stop()

  await cp(file, site.path('data', 'log.sqlite'))
  const restored = await site.serve('data', { model: model.url })
  await untilReady(restored)
  expect((await get(restored, `/api/runs/${first}`)).body.status).toBe('achieved')
  expect((await get(restored, `/api/runs/${second}`)).status).toBe(404)
  expect((await get(restored, '/api/runs')).body).toHaveLength(1)
})

test('an existing file is kept, unless --force replaces it', async () => {
  await usedFolder()
  const file = site.path('log.backup')
  await writeFile(file, 'dear')
  const nowhere = await backup(site.path('nowhere', 'log.backup'))
  expect(nowhere.code).toBe(3)
  expect(nowhere.stderr).toContain(`there is no folder ${site.path('nowhere')}: make it first`)
  const refused = await backup(file)
  expect(refused.code).toBe(3)
  expect(refused.stderr).toContain(`${file} exists already`)
  expect(await readFile(file, 'utf8')).toBe('dear')
  expect((await backup(file, '--force')).code).toBe(0)
  const again = await backup(site.path('again.backup'))
  expect(again.code).toBe(0)
  expect((await readFile(file)).equals(await readFile(site.path('again.backup')))).toBe(true)
  // Everybody may read the log, but nobody else may enter its folder.
  await chmod(site.path('data', 'log.sqlite'), 0o644)
  expect((await stat(site.path('data'))).mode & 0o777).toBe(0o700)
  expect((await backup(file, '--force')).code).toBe(0)
  expect((await stat(file)).mode & 0o777).toBe(0o600)
})

test('a backup that fails names the reason, and leaves no file', async () => {
  const file = site.path('log.backup')
  const missing = await backup(file)
  expect(missing.code).toBe(3)
  expect(missing.stderr).toContain(`there is no event store ${site.path('data', 'log.sqlite')}`)

  await mkdir(site.path('data'))
  const db = new DatabaseSync(site.path('data', 'log.sqlite'))
  db.exec('CREATE TABLE things (name TEXT)')
  db.close()
  expect((await backup(file)).stderr).toContain('another program')
  expect((await backup(site.path('nowhere', 'x'))).code).toBe(3)
  expect(await readdir(site.folder)).toEqual(['data'])
})

test('a damaged log is not backed up', async () => {
  await usedFolder()
  const log = site.path('data', 'log.sqlite')
  const bytes = await readFile(log)
  bytes.fill(0x5a, bytes.length - 3000)
  await writeFile(log, bytes)
  const refused = await backup(site.path('log.backup'))
  expect(refused.code).toBe(3)
  expect(refused.stderr).toMatch(/damaged/)
  expect(await readdir(site.folder)).toEqual(['data', 'project'])
})

test('a log that lacks a record is not backed up', async () => {
  await usedFolder()
  const db = new DatabaseSync(site.path('data', 'log.sqlite'))
  db.exec('DELETE FROM events WHERE revision = 3')
  db.close()
  const refused = await backup(site.path('log.backup'))
  expect(refused.code).toBe(3)
  expect(refused.stderr).toMatch(/not whole.*1 broken/)
})

test('a backup replaces neither its own log nor a folder', async () => {
  await usedFolder()
  const log = site.path('data', 'log.sqlite')
  const { ino } = await stat(log)
  for (const more of [[], ['--force']]) {
    expect(await backup(log, ...more)).toMatchObject({
      code: 3,
      stderr: `retrai: ${log} is the log itself: choose another file for the copy\n`,
    })
    expect(await backup(site.path('data'), ...more)).toMatchObject({
      code: 3,
      stderr: `retrai: ${site.path('data')} is a folder: name a file in it\n`,
    })
  }
  expect((await stat(log)).ino).toBe(ino)
})

test('a backup does not replace the log of another server', async () => {
  await usedFolder()
  const other = await site.serve('other')
  const log = site.path('other', 'log.sqlite')
  const { ino } = await stat(log)
  const refused = await backup(log, '--force')
  expect(refused.code).toBe(3)
  expect(refused.stderr).toContain(`${log} is a database in use`)
  expect((await stat(log)).ino).toBe(ino)
  await start(other, await site.project('other-project'))

  await other.stop()
  expect((await backup(log, '--force')).code).toBe(0)
})
