import { execFile, spawnSync } from 'node:child_process'
import { createReadStream, existsSync } from 'node:fs'
import { cp, mkdir, readdir, readFile, realpath, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { describe, expect } from 'vitest'
import * as z from 'zod'
import type { Script } from '../../examples/scripted-model/script.ts'
import { Checkpoint, InclusionProof, PublishedKeys, RunProof } from '../../src/api/audit.ts'
import { unpacked } from '../../src/audit/bundle/unpack.ts'
import { verifyBundle } from '../../src/audit/verify/verify-bundle.ts'
import { checkpointHash, checkSeal, knownKeys } from '../../src/checkpoints/public-keys.ts'
import { includes } from '../audit/inclusion.ts'
import { retrai } from '../cli/support.ts'
import { isMissing } from '../support/missing.ts'
import { printed, type Site, type SiteServer } from '../support/site.ts'
import { test } from '../support/test.ts'
import { type GoldenFolder, goldenFolders, keptAnswer, leaveAlone, QUIET } from './folders.ts'

const FOLDERS = goldenFolders()
const PYTHON_VERIFIER = join(import.meta.dirname, '../audit/verify.py')

/** A copy of the data folder, which may be changed. */
async function copyOf(site: Site, golden: GoldenFolder): Promise<string> {
  await mkdir(site.path('data'))
  await golden.unpackTo(site.path('data'))
  return site.path('data')
}

/**
 * A command that runs a server to which `/usr` has only what it needs: two runs of the folder work there, and each of their
 * snapshots would read all programs of the machine. Without the rights to mount, it is nothing, and they do read that.
 */
async function inSmallUsr(site: Site): Promise<string[]> {
  const small = site.path('usr')
  const programs = [process.execPath, '/bin/sh', '/bin/bash'].filter((path) => existsSync(path))
  const { stdout } = spawnSync('ldd', programs, { encoding: 'utf8' })
  const linked = stdout?.match(/\/\S+\.so\S*/g) ?? []
  for (const path of [...programs, ...linked]) {
    const inUsr = relative('/usr', join(await realpath(dirname(path)), basename(path)))
    if (!inUsr.startsWith('..')) await cp(path, join(small, inUsr), { dereference: true })
  }
  const launcher = ['unshare', '--mount', '--propagation', 'private']
  const mount = ['sh', '-c', 'mount --bind "$0" /usr && exec "$@"', small]
  const [command = '', ...args] = [...launcher, ...mount, 'sh', '-c', 'true']
  const { status } = spawnSync(command, args, { stdio: 'ignore' })
  return status === 0 ? [...launcher, ...mount] : []
}

/** A server of this version on a data folder, and a caller with this token. */
async function open(
  site: Site,
  caller: string,
  script: Script,
  env: Variables,
  launcher: readonly string[] = [],
) {
  const model = await site.model(script)
  const server = await site.serve('data', { model, env, caller, launcher })
  // Until then, a read model that this version rebuilds lags behind the log.
  await server.untilReady()
  return server
}
type Variables = Readonly<Record<string, string>>

const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` })

/** The text of an answer of 200. */
async function textOf(server: SiteServer, path: string): Promise<string> {
  const { status, text } = await server.get(path)
  expect(status, `${path}: ${text}`).toBe(200)
  return text
}

const jsonOf = async <T>(server: SiteServer, path: string, shape: z.ZodType<T>): Promise<T> =>
  shape.parse(JSON.parse(await textOf(server, path)))

const Frames = z.array(
  z.looseObject({ seq: z.int(), kind: z.string(), payload: z.looseObject({}) }),
)
const Status = z.looseObject({ status: z.string() })
const Entries = z.array(z.looseObject({ kind: z.string(), payload: z.looseObject({}) }))
const never: Script = () => ({ fault: 'hang' })
const runOf = ({ about }: GoldenFolder, name: string) => {
  const run = about.runs[name]
  if (run === undefined) throw new Error(`there is no run ${name}`)
  return { ...run, path: `/api/runs/${run.run_id}` }
}

/** The addresses of the events of a run that the folder holds, and what was answered. */
const eventAnswers = ({ answers, about }: GoldenFolder) =>
  Object.values(about.runs).flatMap(({ run_id, records }) => {
    const path = `/api/runs/${run_id}/events?kinds=all&limit=${records}`
    return [path, `${path}&meta=true`].map((address) => [address, answers[address]] as const)
  })

/** Fails if a redacted text is in it. */
function expectNothingOf({ about }: GoldenFolder, where: string, content: Buffer | string): void {
  for (const text of about.redacted.texts) expect(content.includes(text), where).toBe(false)
}

async function expectNothingIn(golden: GoldenFolder, dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir, { recursive: true })) {
    const path = join(dataDir, name)
    expect(golden.about.redacted.artifacts).not.toContain(basename(path))
    if ((await stat(path)).isFile()) expectNothingOf(golden, name, await readFile(path))
  }
}

/** The export verifies, here and in Python, and holds nothing that was redacted. */
async function expectToHold(golden: GoldenFolder, file: string, key: string): Promise<void> {
  const anchors = { keys: new Map(), fingerprints: new Set([key]) }
  const report = await verifyBundle(unpacked(createReadStream(file)), { anchors })
  expect(report, file).toMatchObject({ holds: true, trust: 'trusted', findings: [] })
  expectNothingOf(golden, file, gunzipSync(await readFile(file)))
  if (isMissing('python3')) return
  const args = [PYTHON_VERIFIER, file, '--fingerprint', key]
  expect((await promisify(execFile)('python3', args)).stdout).toContain('holds: ')
}

describe.each(FOLDERS)('the data folder of $name', (golden) => {
  const { about, answers } = golden
  const { admin, viewer, auditor, revoked, expired } = about.tokens

  test('is served as it was, byte for byte, to callers with the permission', async ({ site }) => {
    const dataDir = await copyOf(site, golden)
    const unfinished = runOf(golden, 'unfinished')
    await leaveAlone(dataDir, unfinished.run_id)
    const server = await open(site, admin.secret, never, QUIET)
    for (const [address, answer] of Object.entries(answers)) {
      const text = await textOf(server, address)
      expect(keptAnswer(address, text), address).toBe(answer)
      expectNothingOf(golden, address, text)
    }
    // Otherwise, the answers about it would depend on how far it has come.
    const progress = { seq: unfinished.records - 1 }
    expect(await jsonOf(server, unfinished.path, Status)).toMatchObject({ progress })
    const { artifacts } = about.redacted
    for (const sha256 of artifacts) {
      const { status } = await server.get(`${runOf(golden, 'redacted').path}/artifacts/${sha256}`)
      expect([404, 410]).toContain(status)
    }
    for (const { name, role, secret } of [admin, viewer, auditor]) {
      const { text } = await server.get('/api/me', bearer(secret))
      expect(JSON.parse(text)).toMatchObject({ principal: name, role })
    }
    for (const { secret } of [revoked, expired]) {
      expect(await server.get('/api/runs', bearer(secret))).toMatchObject({ status: 401 })
    }
    const { path } = runOf(golden, 'waiting')
    expect((await server.post(`${path}/abort`, {}, bearer(viewer.secret))).status).toBe(403)
  })

  test('continues: its runs end, and everything verifies, can be exported and is in checkpoints', async ({
    site,
  }) => {
    const dataDir = await copyOf(site, golden)
    const [key = ''] = about.keys
    const kept = await site.write('kept.json', answers['/api/checkpoints/latest'] ?? '')
    const settings = { RETRAI_CHECKPOINT_SECONDS: '1' }
    const server = await open(site, admin.secret, [], settings, await inSmallUsr(site))

    const waiting = runOf(golden, 'waiting')
    const approval = { decision: 'approve', seq: waiting.records - 1 }
    expect((await server.post(`${waiting.path}/resume`, approval)).status).toBe(200)
    const unfinished = runOf(golden, 'unfinished')
    for (const { path } of [waiting, unfinished]) {
      await expect
        .poll(() => jsonOf(server, path, Status), { timeout: 400_000 })
        .toMatchObject({ status: 'achieved' })
    }
    // What was under way may have been done; what came after it was not begun.
    const frames = await jsonOf(server, `${unfinished.path}/events?limit=1000`, Frames)
    const outcomes = frames.flatMap(({ payload }) => payload.outcome ?? [])
    expect(outcomes).toEqual(['unknown', 'ok'])
    for (const [address, answer] of eventAnswers(golden)) {
      expect(keptAnswer(address, await textOf(server, address)), address).toBe(answer)
    }

    const { key: name, body } = about.idempotent
    const repeated = await server.post('/api/runs', body, { 'idempotency-key': name })
    expect(repeated.status).toBe(200)
    expect(JSON.parse(repeated.text)).toMatchObject({ run_id: about.runs.achieved?.run_id })

    await expectCheckpointsToGoOn(golden, server)
    await expectAccessesToBeKept(golden, server)
    const trusted = about.keys.flatMap((each) => ['--fingerprint', each])
    const asked = await server.retrai(
      'verify',
      '--server',
      server.url,
      '--checkpoint',
      kept,
      ...trusted,
    )
    expect(asked, asked.stdout + asked.stderr).toMatchObject({ code: 0 })

    for (const [run, { run_id }] of Object.entries(about.runs)) {
      const file = site.path(`${run}.tar.gz`)
      await writeFile(file, await server.bytes(`/api/runs/${run_id}/export`))
      await expectToHold(golden, file, key)
    }
    for (const address of Object.keys(answers)) {
      expectNothingOf(golden, address, await textOf(server, address))
    }
    await server.stop()
    await printed(['verify', '--data-dir', dataDir, '--checkpoint', kept])
    await expectNothingIn(golden, dataDir)
  }, 1_000_000)

  test('has exports that hold, and those of complete runs can be imported, and give the same runs', async ({
    site,
  }) => {
    const dataDir = site.path('data')
    const taken = []
    const file = golden.exportFile('achieved.tar.gz')
    await printed(['verify', file])
    for (const [name, { run, complete, key }] of Object.entries(about.exports)) {
      const file = golden.exportFile(name)
      await expectToHold(golden, file, key)
      const args = ['import', file, '--data-dir', dataDir, '--fingerprint', key]
      expect(await retrai(args), name).toMatchObject({ code: complete ? 0 : 3 })
      if (complete) taken.push(runOf(golden, run))
    }
    const server = await open(site, '', never, QUIET)
    for (const { path, records } of taken) {
      for (const address of [path, `${path}/events?kinds=all&limit=${records}&meta=true`]) {
        expect(keptAnswer(address, await textOf(server, address))).toBe(answers[address])
      }
    }
    await server.stop()
    await printed(['verify', '--data-dir', dataDir])
    await expectNothingIn(golden, dataDir)
  })
})

/** New checkpoints come after the old ones; old and new are signed, and so are proofs. */
async function expectCheckpointsToGoOn(golden: GoldenFolder, server: SiteServer): Promise<void> {
  const keys = knownKeys(await jsonOf(server, '/api/keys', PublishedKeys))
  const before = z
    .array(Checkpoint)
    .parse(JSON.parse(answerOf(golden, '/api/checkpoints?limit=1000')))
  const list = () => jsonOf(server, '/api/checkpoints?limit=1000', z.array(Checkpoint))
  await expect.poll(async () => (await list()).length).toBeGreaterThan(before.length)
  const all = await list()
  expect(all.slice(0, before.length)).toEqual(before)
  for (const [index, checkpoint] of all.entries()) {
    expect(checkSeal(checkpoint, keys)).toBe('good')
    const previous = all[index - 1]
    if (previous !== undefined) expect(checkpoint.previous).toBe(checkpointHash(previous))
  }
  const proven = Object.keys(golden.answers).filter((path) => /checkpoints\/\d+\/runs\//.test(path))
  expect(proven.length).toBeGreaterThan(5)
  for (const path of proven) {
    const proof = InclusionProof.parse(JSON.parse(answerOf(golden, path)))
    expect(includes(proof)).toBe(true)
    expect(checkSeal(proof.checkpoint, keys)).toBe('good')
  }
  const { run_id, records } = runOf(golden, 'achieved')
  const proof = await jsonOf(server, `/api/runs/${run_id}/proof`, RunProof)
  expect(proof).toMatchObject({ length: records, last_kind: 'run_end' })
  expect(checkSeal(proof, keys)).toBe('good')
}

/** Earlier accesses stay, and new ones come after them. */
async function expectAccessesToBeKept(golden: GoldenFolder, server: SiteServer): Promise<void> {
  const before = Entries.parse(JSON.parse(answerOf(golden, '/api/access?limit=1000')))
  const list = () => jsonOf(server, '/api/access?limit=1000', Entries)
  await expect.poll(async () => (await list()).length).toBeGreaterThan(before.length)
  expect((await list()).slice(0, before.length)).toEqual(before)
  const { run_id } = runOf(golden, 'achieved')
  const of = await server.retrai('access', '--run', run_id, '--json')
  expect(of).toMatchObject({ code: 0 })
  for (const name of ['eve', 'grace', 'ada']) expect(of.stdout).toContain(`"${name}"`)
}

function answerOf({ answers }: GoldenFolder, address: string): string {
  const answer = answers[address]
  if (answer === undefined) throw new Error(`${address} was not kept`)
  return answer
}
