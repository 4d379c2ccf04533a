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
import { printed, Site, type SiteServer, until } from '../support/site.ts'
import { PATIENCE_MS } from '../support/within.ts'
import { cleanEnv, type Finished, jsonLines, refused, retrai, retraiProcess } from './support.ts'

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
  const listed = await printed(['key', 'list', '--data-dir', file('data')])
  fingerprint = /^[0-9a-f]{64}/.exec(listed)?.[0] ?? 'none'
})
afterAll(() => site.close())

const run = () => runs[0] ?? 'none'
async function exportTo(name: string, ...from: string[]): Promise<string> {
  const target = file(name)
  await printed(['export', run(), target, '--force', ...from])
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
      await printed(['export', given, target, '--force', ...fromServer()])
      const verified = await printed(['verify', target, '--fingerprint', fingerprint])
      for (const part of [meant, 'the run is complete', 'You trust this key']) {
        expect(verified).toContain(part)
      }
    }
    await refused(
      ['export', '0000', file('none.tar.gz'), ...fromServer()],
      /^retrai: No run has an id that begins with 0000\. "retrai runs" lists the runs\.\n$/,
    )
  })

  test('that is signed by another key, or does not exist, has an exit code of its own', async () => {
    const target = await exportTo('trust.tar.gz', ...fromServer())
    const other = await retrai(['verify', target, '--fingerprint', '0'.repeat(64)])
    expect(other.code).toBe(2)
    await refused(['verify', file('nothing')], 'ENOENT')
    await refused(['verify'], 'exactly one')
    await refused(['verify', target, '--fingerprint', 'short'], '64 hex')
  })

  test('that is not exactly one whole archive is refused by each command, with a message', async () => {
    const target = await exportTo('whole.tar.gz', ...fromServer())
    await appendFile(target, Buffer.alloc(700))
    const verified = await retrai(['verify', target])
    expect(verified).toMatchObject({ code: 1, stdout: expect.stringContaining('DOES NOT HOLD') })
    await refused(['replay', target], 'is not one whole export')
    await refused(['import', target, '--data-dir', file('refused')], 'nothing was done with it')
    await writeFile(file('text'), 'no archive')
    const text = await retrai(['verify', file('text')])
    expect([text.code, text.stdout]).toEqual([
      1,
      expect.stringContaining('This is not an export of a run, or its beginning is missing.'),
    ])
    await refused(['verify', tmpdir()], /is a folder.*--data-dir/)
  })

  test('takes the place of an earlier file only as a whole', async () => {
    const target = file('earlier.tar.gz')
    await writeFile(target, 'mine')
    const id = '550e8400-e29b-41d4-a716-446655440000'
    await refused(['export', id, target, '--force', ...fromServer()], 'no such run')
    expect(await readFile(target, 'utf8')).toBe('mine')
    await refused(['export', run(), target, ...fromServer()], '--force')
    expect(await readFile(target, 'utf8')).toBe('mine')
    await exportTo('earlier.tar.gz', ...fromServer())
    await printed(['verify', target])
  })

  test('of the result is one statement, which is never written over another file', async () => {
    const published = z.object({ keys: z.array(PublishedKey) })
    const { keys } = published.parse((await server.get('/api/keys')).body)
    const pem = Object.fromEntries(keys.map((key) => [key.fingerprint, key.public_key]))
    const target = file('result.json')
    const args = ['export', run(), '--in-toto', target, ...fromServer()]
    await printed(args)
    const { predicate } = statementIn(await readFile(target, 'utf8'), pem)
    expect(predicate.result).toBe('PASSED')
    const names = predicate.configuration.map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['run', 'checkpoint']))
    await refused(args, '--force')
    await refused(['export', run(), target, '--in-toto', target, ...fromServer()], 'Name one file')
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
    await refused(['import', target, ...fromFolder()], 'stop that one')
    const into = ['import', target, '--data-dir', file('other')]
    const first = await retrai(into)
    expect(first.stderr).toContain(`is imported into the log of ${file('other')}`)
    expect(first.stderr).toContain('No server has ever served this folder')
    await refused(into, 'has the run')
    expect(await printed(['verify', '--data-dir', file('other')])).toContain('1 run hold')
  })
})

const lines = (text: string): string[] => text.trim().split('\n')

test('a replay shows the same from a server and from an export, from a record on, in chosen kinds', async () => {
  const target = await exportTo('replay.tar.gz', ...fromServer())
  const live = await printed(['replay', run(), ...fromServer()])
  expect(live).toBe(await printed(['replay', target]))
  expect(lines(live).at(-1)).toContain('run_end')
  expect(live).not.toContain('\u001b')
  const args = ['--from', '9', '--kinds', 'step_start,run_end', '--json']
  for (const from of [[run(), ...fromServer()], [target]]) {
    const events = jsonLines(await retrai(['replay', ...from, ...args]))
    expect(events.every(({ seq }) => seq >= 9)).toBe(true)
    expect(new Set(events.map(({ kind }) => kind))).toEqual(new Set(['step_start', 'run_end']))
  }
  const nowhere = ['--server', 'http://127.0.0.1:9']
  await refused(['replay', 'missing.tar.gz', ...nowhere], 'There is no file')
})

test('the access log is listed, newest first, and can be filtered', async () => {
  const listed = await printed(['access', '--limit', '1000', ...fromServer()])
  expect(listed).toMatch(/^SEQ .* TIMES +DETAILS$/m)
  expect(listed).toContain('run_exported')
  const narrowed = ['--run', run(), '--principal', 'local', '--kinds', 'run_exported', '--json']
  const entries = jsonLines(await retrai(['access', ...narrowed, ...fromServer()]))
  expect(entries.length).toBeGreaterThan(0)
  expect(entries.every(({ payload }) => payload.run_id === run())).toBe(true)
  const seqs = entries.map(({ seq }) => seq)
  expect(seqs).toEqual(seqs.toSorted((a, b) => b - a))
})

describe('a store', () => {
  const kept = () => ['--checkpoint', file('kept.json'), '--fingerprint', fingerprint]

  test('holds, from the server and from its folder, and agrees with a checkpoint that was kept', async () => {
    for (const from of [fromServer(), fromFolder()]) {
      const verified = await printed(['verify', ...from, ...kept()])
      for (const part of [
        /in 2 runs hold/,
        /\d+ entries of the ledger access hold/,
        /You trust this key/,
      ]) {
        expect(verified).toMatch(part)
      }
    }
  })

  /** A data folder with the same log and public keys. */
  async function copyOfFolder(name: string): Promise<string> {
    const dir = file(name)
    await mkdir(join(dir, 'keys'), { recursive: true })
    await printed(['backup', join(dir, 'log.sqlite'), ...fromFolder()])
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
    await printed(['verify', '--data-dir', dir])
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
  const rotated = await printed(['key', 'rotate', '--json', ...fromFolder()])
  await writeFile(file('keys.json'), rotated)
  const after = await exportTo('after.tar.gz', ...fromServer())
  for (const each of [before, after]) await printed(['verify', each, '--keys', file('keys.json')])
  for (const [content, why] of [
    ['{"keys":[]}', 'its list is empty'],
    ['{"keys":[{}]}', 'keys.0.fingerprint: '],
    ['-----BEGIN', 'it is not JSON'],
    [rotated.replaceAll('MCow', 'MCox'), 'is not an Ed25519 key in PEM'],
  ] as const) {
    await writeFile(file('no-keys.json'), content)
    await refused(['verify', after, '--keys', file('no-keys.json')], why)
  }
  const signer = async (path: string): Promise<unknown> =>
    JSON.parse(await printed(['verify', path, '--json'])).key
  expect(await signer(before)).toBe(fingerprint)
  expect(await signer(after)).not.toBe(fingerprint)
})

test('no key is made in place of one that is not there', async () => {
  for (const command of ['rotate', 'list']) {
    const why = new RegExp(`There is no key in ${file('elsewhere')}.*Name that with`)
    await refused(['key', command, '--data-dir', file('elsewhere')], why)
  }
  await expect(stat(file('elsewhere'))).rejects.toThrow('ENOENT')
})
