import { spawnSync } from 'node:child_process'
import {
  appendFile,
  copyFile,
  cp,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { goal, script } from '../../examples/scripted-model/fix-the-calculator.ts'
import { PublishedKey } from '../../src/api/audit.ts'
import { statementIn } from '../support/in-toto.ts'
import { Site, type SiteServer, until } from '../support/site.ts'
import { PATIENCE_MS } from '../support/within.ts'
import { cleanEnv, type Finished, retrai, retraiProcess } from './support.ts'

let site: Site
let server: SiteServer
let runs: readonly string[]
let fingerprint: string
const file = (name: string): string => site.path(name)

async function finishedRun(name: string): Promise<string> {
  const runId = await server.start(await site.brokenProject(name), { goal })
  await server.untilStatus(runId, 'achieved')
  return runId
}

const Length = z.object({ length: z.number() })
const Inclusion = z.object({ leaf: Length })

async function isComplete(runId: string): Promise<boolean> {
  const { body } = await server.get(`/api/checkpoints/latest/runs/${runId}`)
  const proof = Length.parse((await server.get(`/api/runs/${runId}/proof`)).body)
  return Inclusion.safeParse(body).data?.leaf.length === proof.length
}

/** The newest checkpoint, as soon as it covers all records of these runs. */
async function checkpointOver(ids: readonly string[]): Promise<string> {
  await until(
    () => Promise.all(ids.map((id) => isComplete(id))),
    (complete) => complete.every(Boolean),
    PATIENCE_MS,
  )
  return (await server.get('/api/checkpoints/latest')).text
}

beforeAll(async () => {
  site = await Site.open()
  const model = await site.model(script)
  // The goal needs npm, which the servers of most tests do not find.
  const env = { RETRAI_CHECKPOINT_SECONDS: '1', RETRAI_ISOLATION: 'none' }
  server = await site.serve('data', { model, env })
  runs = [await finishedRun('one'), await finishedRun('two')]
  await writeFile(file('kept.json'), await checkpointOver(runs))
  const listed = await retrai(['key', 'list', '--data-dir', file('data')])
  fingerprint = /^[0-9a-f]{64}/.exec(listed.stdout)?.[0] ?? 'none'
})
afterAll(() => site.close())

const run = () => runs[0] ?? 'none'
async function exportTo(name: string, ...from: string[]): Promise<string> {
  const target = file(name)
  const done = await retrai(['export', run(), target, '--force', ...from])
  expect(done, done.stderr).toMatchObject({ code: 0 })
  return target
}
const fromServer = () => ['--server', server.url]
const fromFolder = () => ['--data-dir', file('data')]

describe('an export', () => {
  test('verifies offline: of the last run, or of the one whose id begins so', async () => {
    const [first = '', last = ''] = runs
    for (const [given, meant] of [
      [first.slice(0, 8).toUpperCase(), first],
      ['last', last],
    ] as const) {
      const target = file('short.tar.gz')
      const done = await retrai(['export', given, target, '--force', ...fromServer()])
      expect(done, done.stderr).toMatchObject({ code: 0 })
      const verified = await retrai(['verify', target, '--fingerprint', fingerprint])
      expect(verified.code).toBe(0)
      for (const part of [meant, 'the run is complete', 'You trust this key']) {
        expect(verified.stdout).toContain(part)
      }
    }
    const none = await retrai(['export', '0000', file('none.tar.gz'), ...fromServer()])
    expect([none.code, none.stderr]).toEqual([
      3,
      'retrai: No run has an id that begins with 0000. "retrai runs" lists the runs.\n',
    ])
  })

  test('that is signed by another key, or does not exist, has an exit code of its own', async () => {
    const target = await exportTo('trust.tar.gz', ...fromServer())
    const other = await retrai(['verify', target, '--fingerprint', '0'.repeat(64)])
    expect(other.code).toBe(2)
    expect((await retrai(['verify', file('nothing')])).code).toBe(3)
    expect((await retrai(['verify'])).code).toBe(3)
    expect((await retrai(['verify', target, '--fingerprint', 'short'])).code).toBe(3)
  })

  test('that is not exactly one whole archive is refused by each command, with a message', async () => {
    const target = await exportTo('whole.tar.gz', ...fromServer())
    await appendFile(target, Buffer.alloc(700))
    const verified = await retrai(['verify', target])
    expect(verified).toMatchObject({ code: 1, stdout: expect.stringContaining('DOES NOT HOLD') })
    const replayed = await retrai(['replay', target])
    expect(replayed).toMatchObject({ code: 3, stdout: '' })
    expect(replayed.stderr).toContain('is not one whole export')
    const imported = await retrai(['import', target, '--data-dir', file('refused')])
    expect(imported.stderr).toContain('nothing was done with it')
    await writeFile(file('text'), 'no archive')
    const text = await retrai(['verify', file('text')])
    expect([text.code, text.stdout]).toEqual([
      1,
      expect.stringContaining('This is not an export of a run, or its beginning is missing.'),
    ])
    const folder = await retrai(['verify', tmpdir()])
    expect([folder.code, folder.stderr]).toEqual([
      3,
      expect.stringMatching(/is a folder.*--data-dir/),
    ])
  })

  test('takes the place of an earlier file only as a whole', async () => {
    const target = file('earlier.tar.gz')
    await writeFile(target, 'mine')
    const id = '550e8400-e29b-41d4-a716-446655440000'
    const none = await retrai(['export', id, target, '--force', ...fromServer()])
    expect(none.code).toBe(3)
    expect(await readFile(target, 'utf8')).toBe('mine')
    const refused = await retrai(['export', run(), target, ...fromServer()])
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('--force')])
    expect(await readFile(target, 'utf8')).toBe('mine')
    await exportTo('earlier.tar.gz', ...fromServer())
    expect((await retrai(['verify', target])).code).toBe(0)
  })

  test('of the result is one statement, which is never written over another file', async () => {
    const published = z.object({ keys: z.array(PublishedKey) })
    const { keys } = published.parse((await server.get('/api/keys')).body)
    const pem = Object.fromEntries(keys.map((key) => [key.fingerprint, key.public_key]))
    const target = file('result.json')
    const args = ['export', run(), '--in-toto', target, ...fromServer()]
    expect(await retrai(args)).toMatchObject({ code: 0 })
    const { predicate } = statementIn(await readFile(target, 'utf8'), pem)
    expect(predicate.result).toBe('PASSED')
    const names = predicate.configuration.map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['run', 'checkpoint']))
    const refused = await retrai(args)
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('--force')])
    const both = await retrai(['export', run(), target, '--in-toto', target, ...fromServer()])
    expect([both.code, both.stderr]).toEqual([3, expect.stringContaining('Name one file')])
  })

  test('is written into a pipe, which stays one', async () => {
    const pipe = file('pipe')
    spawnSync('sh', ['-c', 'mkfifo "$0"', pipe])
    const exporting = retrai(['export', run(), pipe, ...fromServer()])
    const [content, { code }] = await Promise.all([readFile(pipe), exporting])
    expect([code, content.subarray(0, 2).toString('hex')]).toEqual([0, '1f8b'])
    expect((await stat(pipe)).isFIFO()).toBe(true)
  })

  test('is imported into another data folder, but not under a server', async () => {
    const target = await exportTo('import.tar.gz', ...fromServer())
    const under = await retrai(['import', target, ...fromFolder()])
    expect(under.code).toBe(3)
    expect(under.stderr).toContain('stop that one')
    const into = ['import', target, '--data-dir', file('other')]
    const first = await retrai(into)
    expect(first.stderr).toContain(`is imported into the log of ${file('other')}`)
    expect(first.stderr).toContain('No server has ever served this folder')
    expect(await retrai(into)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('has the run'),
    })
    const held = await retrai(['verify', '--data-dir', file('other')])
    expect(held.stdout).toContain('1 run hold')
    expect(held.code).toBe(0)
  })
})

const lines = (text: string): string[] => text.trim().split('\n')

test('a replay shows the same from a server and from an export, from a record on, in chosen kinds', async () => {
  const target = await exportTo('replay.tar.gz', ...fromServer())
  const live = await retrai(['replay', run(), ...fromServer()])
  expect(live.stdout).toBe((await retrai(['replay', target])).stdout)
  expect(lines(live.stdout).at(-1)).toContain('run_end')
  expect(live.stdout).not.toContain('\u001b')
  const args = ['--from', '9', '--kinds', 'step_start,run_end', '--json']
  for (const from of [[run(), ...fromServer()], [target]]) {
    const shown = lines((await retrai(['replay', ...from, ...args])).stdout)
    const events = shown.map((line) => JSON.parse(line))
    expect(events.every(({ seq }) => seq >= 9)).toBe(true)
    expect(new Set(events.map(({ kind }) => kind))).toEqual(new Set(['step_start', 'run_end']))
  }
  const missing = await retrai(['replay', 'missing.tar.gz', '--server', 'http://127.0.0.1:9'])
  expect([missing.code, missing.stderr]).toEqual([3, expect.stringContaining('There is no file')])
})

test('the access log is listed, newest first, and can be filtered', async () => {
  const listed = await retrai(['access', '--limit', '1000', ...fromServer()])
  expect(listed.stdout).toMatch(/^SEQ .* TIMES +DETAILS$/m)
  expect(listed.stdout).toContain('run_exported')
  const narrowed = ['--run', run(), '--principal', 'local', '--kinds', 'run_exported', '--json']
  const { stdout } = await retrai(['access', ...narrowed, ...fromServer()])
  const entries = lines(stdout).map((line) => JSON.parse(line))
  expect(entries.length).toBeGreaterThan(0)
  expect(entries.every(({ payload }) => payload.run_id === run())).toBe(true)
  const seqs = entries.map(({ seq }) => seq)
  expect(seqs).toEqual(seqs.toSorted((a, b) => b - a))
})

describe('a store', () => {
  const kept = () => ['--checkpoint', file('kept.json'), '--fingerprint', fingerprint]

  test('holds, from the server and from its folder, and agrees with a checkpoint that was kept', async () => {
    for (const from of [fromServer(), fromFolder()]) {
      const done = await retrai(['verify', ...from, ...kept()])
      expect(done, done.stdout).toMatchObject({ code: 0 })
      expect(done.stdout).toContain('in 2 runs hold')
      expect(done.stdout).toMatch(/\d+ entries of the ledger access hold/)
      expect(done.stdout).toContain('You trust this key')
    }
  })

  /** A data folder with the same log and public keys. */
  async function copyOfFolder(name: string): Promise<string> {
    const dir = file(name)
    await mkdir(join(dir, 'keys'), { recursive: true })
    const made = await retrai(['backup', join(dir, 'log.sqlite'), ...fromFolder()])
    expect(made, made.stderr).toMatchObject({ code: 0 })
    await copyFile(join(file('data'), 'keys/keyring.json'), join(dir, 'keys/keyring.json'))
    return dir
  }

  /** Verifies a copy of the log after somebody with access to the file has changed it. */
  async function changed(name: string, sql: string): Promise<Finished> {
    const dir = await copyOfFolder(name)
    const db = new DatabaseSync(join(dir, 'log.sqlite'))
    const stream = `(SELECT id FROM streams WHERE name = 'run-${run()}')`
    const checkpoints = `(SELECT id FROM streams WHERE name = 'retrai-checkpoints')`
    db.exec(sql.replaceAll('$RUN', stream).replaceAll('$CHECKPOINTS', checkpoints))
    db.close()
    return retrai(['verify', '--data-dir', dir, ...kept()])
  }

  test('is verified on a read-only disk, without its private key', async ({ skip }) => {
    const dir = await copyOfFolder('read-only')
    await cp(join(file('data'), 'artifacts'), join(dir, 'artifacts'), { recursive: true })
    for (const name of ['read-model.sqlite', 'read-model.sqlite-wal']) {
      await copyFile(join(file('data'), name), join(dir, name))
    }
    // The end of its last connection moves all of it into the file.
    const readModel = new DatabaseSync(join(dir, 'read-model.sqlite'))
    readModel.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    readModel.close()
    const mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    const sealed = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', mount, dir]
    if (spawnSync(sealed[0] ?? '', [...sealed.slice(1), 'true']).status !== 0) {
      console.warn('*** SKIPPED: a test of a read-only disk, which needs root and unshare --mount')
      return skip()
    }
    const done = await retraiProcess(['verify', '--data-dir', dir, ...kept()], cleanEnv(), sealed)
    expect(done, done.stderr).toMatchObject({ code: 0 })
    expect(done.stdout).toContain('in 2 runs hold')
    expect(done.stdout).toContain('Compared 2 runs of the read model')
    await writeFile(join(dir, 'log.sqlite-wal'), 'a part of it')
    const halved = await retraiProcess(['verify', '--data-dir', dir], cleanEnv(), sealed)
    expect(halved).toMatchObject({ code: 3, stderr: expect.stringContaining('copy the folder') })
    await rm(join(dir, 'log.sqlite-wal'))
    // No key is made in a folder that can be written either.
    await rm(join(dir, 'keys'), { recursive: true })
    expect(await retrai(['verify', '--data-dir', dir])).toMatchObject({ code: 0 })
    expect(await readdir(dir)).not.toContain('keys')
  })

  test.each([
    [
      'a changed record',
      `UPDATE events SET data = replace(data, '"iteration":1', '"iteration":2')
        WHERE stream_id = $RUN AND revision = 6`,
      // What comes after it was not cut off.
      /^(?!.*cut off).*record 6: changed/s,
    ],
    ['a run dropped', 'DELETE FROM events WHERE stream_id = $RUN', /it was dropped/],
    [
      'a run and all checkpoints dropped',
      'DELETE FROM events WHERE stream_id IN ($RUN, $CHECKPOINTS)',
      /the store does not have it any more/,
    ],
  ])('with %s does not hold', async (what, sql, finding) => {
    const done = await changed(what.replaceAll(' ', '-'), sql)
    expect(done.code).toBe(1)
    expect(done.stdout).toMatch(finding)
  })
})

test('a new key is used at once, and signatures of the old one stay valid', async () => {
  const before = await exportTo('before.tar.gz', ...fromServer())
  const rotated = await retrai(['key', 'rotate', '--json', ...fromFolder()])
  await writeFile(file('keys.json'), rotated.stdout)
  const after = await exportTo('after.tar.gz', ...fromServer())
  for (const each of [before, after]) {
    expect((await retrai(['verify', each, '--keys', file('keys.json')])).code).toBe(0)
  }
  for (const [content, why] of [
    ['{"keys":[]}', 'its list is empty'],
    ['{"keys":[{}]}', 'keys.0.fingerprint: '],
    ['-----BEGIN', 'it is not JSON'],
    [rotated.stdout.replaceAll('MCow', 'MCox'), 'is not an Ed25519 key in PEM'],
  ] as const) {
    await writeFile(file('no-keys.json'), content)
    const refused = await retrai(['verify', after, '--keys', file('no-keys.json')])
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining(why)])
  }
  const signer = async (path: string): Promise<unknown> =>
    JSON.parse((await retrai(['verify', path, '--json'])).stdout).key
  expect(await signer(before)).toBe(fingerprint)
  expect(await signer(after)).not.toBe(fingerprint)
})

test('no key is made in place of one that is not there', async () => {
  for (const command of ['rotate', 'list']) {
    const done = await retrai(['key', command, '--data-dir', file('elsewhere')])
    expect(done).toMatchObject({ code: 3, stderr: expect.stringContaining('Name that with') })
    expect(done.stderr).toContain(`There is no key in ${file('elsewhere')}`)
  }
  await expect(stat(file('elsewhere'))).rejects.toThrow('ENOENT')
})
