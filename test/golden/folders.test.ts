import { execFile } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { ServerProcess } from '../../examples/demo/server.ts'
import type { Script } from '../../examples/scripted-model/script.ts'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { Checkpoint, InclusionProof, PublishedKeys, RunProof } from '../../src/api/audit.ts'
import { unpacked } from '../../src/audit/bundle/tar.ts'
import { includes } from '../../src/audit/checkpoints/run-heads.ts'
import { knownKeys } from '../../src/audit/proofs/public-keys.ts'
import { checkpointHash, checkSeal } from '../../src/audit/proofs/statements.ts'
import { verifyBundle } from '../../src/audit/verify/verify-bundle.ts'
import { ACCESS_KINDS } from '../../src/domain/access.ts'
import { ALL_KINDS } from '../../src/domain/records.ts'
import { cleanEnv, retrai, startServer } from '../cli/support.ts'
import { isMissing } from '../support/missing.ts'
import { type GoldenFolder, goldenFolders, keptAnswer, leaveAlone } from './folders.ts'

const FOLDERS = goldenFolders()
const PYTHON_VERIFIER = join(import.meta.dirname, '../audit/verify.py')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-folders-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** A copy of the data folder, which may be changed. */
async function copyOf(golden: GoldenFolder): Promise<string> {
  const copy = await mkdtemp(join(folder, 'data-'))
  await golden.unpackTo(copy)
  return copy
}

/** A server of this version on a data folder, and the admin of the folder. */
class Opened implements AsyncDisposable {
  readonly #server: ServerProcess
  readonly #closeModel: () => Promise<void>
  readonly secret: string

  private constructor(server: ServerProcess, closeModel: () => Promise<void>, secret: string) {
    this.#server = server
    this.#closeModel = closeModel
    this.secret = secret
  }

  static async open(
    dataDir: string,
    secret: string,
    script: Script,
    settings: Readonly<Record<string, string>> = {},
  ): Promise<Opened> {
    const model = await startScriptedModel({ script })
    const env = { ...cleanEnv(), RETRAI_LLM_BASE_URL: model.url, ...settings }
    const server = await startServer(['--port', '0', '--data-dir', dataDir], env)
    // Until then, a read model that this version rebuilds lags behind the log.
    await expect.poll(async () => (await fetch(`${server.url}/health/ready`)).status).toBe(200)
    return new Opened(server, model.close, secret)
  }

  get url(): string {
    return this.#server.url
  }

  async ask(path: string, init: RequestInit = {}, secret = this.secret) {
    const headers = { ...Object(init.headers), authorization: `Bearer ${secret}` }
    const answer = await fetch(`${this.#server.url}${path}`, { ...init, headers })
    return { status: answer.status, text: await answer.text() }
  }

  post(
    path: string,
    body: object,
    headers: Readonly<Record<string, string>> = {},
    secret?: string,
  ) {
    const json = { 'content-type': 'application/json', ...headers }
    return this.ask(path, { method: 'POST', headers: json, body: JSON.stringify(body) }, secret)
  }

  async bytes(path: string): Promise<Buffer> {
    const headers = { authorization: `Bearer ${this.secret}` }
    const answer = await fetch(`${this.url}${path}`, { headers })
    expect(answer.status, path).toBe(200)
    return Buffer.from(await answer.arrayBuffer())
  }

  /** The text of an answer of 200. */
  async text(path: string): Promise<string> {
    const { status, text } = await this.ask(path)
    expect(status, `${path}: ${text}`).toBe(200)
    return text
  }

  async json<T>(path: string, shape: z.ZodType<T>): Promise<T> {
    return shape.parse(JSON.parse(await this.text(path)))
  }

  retrai(...args: string[]) {
    const env = { ...cleanEnv(), RETRAI_SERVER: this.#server.url, RETRAI_TOKEN: this.secret }
    return retrai(args, env)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop()
    await this.#closeModel()
  }
}

const Frames = z.array(
  z.looseObject({ seq: z.int(), kind: z.string(), payload: z.looseObject({}) }),
)
const Status = z.looseObject({ status: z.string() })
const Entries = z.array(z.looseObject({ kind: z.string(), payload: z.looseObject({}) }))
const never: Script = () => ({ fault: 'hang' })
/** Nothing is written that the folder does not have, so that all of it can be compared. */
const QUIET = { RETRAI_ACCESS_LOG: 'off', RETRAI_CHECKPOINT_SECONDS: '0' }

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

test('the golden folders hold every kind of record and of access, every end and every outcome', () => {
  const kept = FOLDERS.flatMap(({ answers }) => Object.values(answers)).join('\n')
  const valuesOf = (name: string) =>
    new Set([...kept.matchAll(new RegExp(`"${name}":"(\\w+)"`, 'g'))].map(([, value]) => value))
  const kinds = valuesOf('kind')
  // Entries are lost only when the store is away. The others came later, and are in the golden logs.
  const others: readonly string[] = [
    'entries_lost',
    'run_queued',
    'network_connection',
    'guard_changed',
    'project_context',
    'mcp_tools_listed',
    'approval_required',
    'approval_response',
    'user_message',
    'agent_stuck',
    'context_compacted',
    'run_ending',
    'run_summary',
    'subagent_started',
  ]
  const wanted = [...ALL_KINDS, ...ACCESS_KINDS].filter((kind) => !others.includes(kind))
  expect(wanted.filter((kind) => !kinds.has(kind))).toEqual([])
  for (const outcome of ['ok', 'error', 'rejected', 'timed_out', 'aborted', 'unknown']) {
    expect(valuesOf('outcome')).toContain(outcome)
  }
  for (const status of ['achieved', 'failed', 'aborted', 'awaiting_human', 'running']) {
    expect(valuesOf('status')).toContain(status)
  }
})

describe.each(FOLDERS)('the data folder of $name', (golden) => {
  const { about, answers } = golden
  const { admin, viewer, auditor, revoked, expired } = about.tokens

  test('is served as it was, byte for byte, to callers with the permission', async () => {
    const dataDir = await copyOf(golden)
    const unfinished = runOf(golden, 'unfinished')
    await leaveAlone(dataDir, unfinished.run_id)
    await using server = await Opened.open(dataDir, admin.secret, never, QUIET)
    for (const [address, answer] of Object.entries(answers)) {
      const text = await server.text(address)
      expect(keptAnswer(address, text), address).toBe(answer)
      expectNothingOf(golden, address, text)
    }
    // Otherwise, the answers about it would depend on how far it has come.
    const progress = { seq: unfinished.records - 1 }
    expect(await server.json(unfinished.path, Status)).toMatchObject({ progress })
    const { artifacts } = about.redacted
    for (const sha256 of artifacts) {
      const { status } = await server.ask(`${runOf(golden, 'redacted').path}/artifacts/${sha256}`)
      expect([404, 410]).toContain(status)
    }
    for (const { name, role, secret } of [admin, viewer, auditor]) {
      const { text } = await server.ask('/api/me', {}, secret)
      expect(JSON.parse(text)).toMatchObject({ principal: name, role })
    }
    for (const { secret } of [revoked, expired]) {
      expect(await server.ask('/api/runs', {}, secret)).toMatchObject({ status: 401 })
    }
    const { path } = runOf(golden, 'waiting')
    expect((await server.post(`${path}/abort`, {}, {}, viewer.secret)).status).toBe(403)
  })

  test('continues: its runs end, and everything verifies, can be exported and is in checkpoints', async () => {
    const dataDir = await copyOf(golden)
    const [key = ''] = about.keys
    const kept = join(folder, `${golden.name}-checkpoint.json`)
    await writeFile(kept, answers['/api/checkpoints/latest'] ?? '')
    {
      const settings = { RETRAI_CHECKPOINT_SECONDS: '1' }
      await using server = await Opened.open(dataDir, admin.secret, [], settings)

      const waiting = runOf(golden, 'waiting')
      const approval = { decision: 'approve', seq: waiting.records - 1 }
      expect((await server.post(`${waiting.path}/resume`, approval)).status).toBe(200)
      const unfinished = runOf(golden, 'unfinished')
      for (const { path } of [waiting, unfinished]) {
        await expect.poll(() => server.json(path, Status)).toMatchObject({ status: 'achieved' })
      }
      // What was under way may have been done; what came after it was not begun.
      const frames = await server.json(`${unfinished.path}/events?limit=1000`, Frames)
      const outcomes = frames.flatMap(({ payload }) => payload.outcome ?? [])
      expect(outcomes).toEqual(['unknown', 'ok'])
      for (const [address, answer] of eventAnswers(golden)) {
        expect(keptAnswer(address, await server.text(address)), address).toBe(answer)
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
        const file = join(folder, `${golden.name}-${run}.tar.gz`)
        await writeFile(file, await server.bytes(`/api/runs/${run_id}/export`))
        await expectToHold(golden, file, key)
      }
      for (const address of Object.keys(answers)) {
        expectNothingOf(golden, address, await server.text(address))
      }
    }
    const verified = await retrai(['verify', '--data-dir', dataDir, '--checkpoint', kept])
    expect(verified, verified.stdout).toMatchObject({ code: 0 })
    await expectNothingIn(golden, dataDir)
  })

  test('has exports that hold, and those of complete runs can be imported, and give the same runs', async () => {
    const dataDir = await mkdtemp(join(folder, 'imported-'))
    const taken = []
    const file = golden.exportFile('achieved.tar.gz')
    expect(await retrai(['verify', file])).toMatchObject({ code: 0 })
    for (const [name, { run, complete, key }] of Object.entries(about.exports)) {
      const file = golden.exportFile(name)
      await expectToHold(golden, file, key)
      const args = ['import', file, '--data-dir', dataDir, '--fingerprint', key]
      expect(await retrai(args), name).toMatchObject({ code: complete ? 0 : 3 })
      if (complete) taken.push(runOf(golden, run))
    }
    {
      await using server = await Opened.open(dataDir, '', never, QUIET)
      for (const { path, records } of taken) {
        for (const address of [path, `${path}/events?kinds=all&limit=${records}&meta=true`]) {
          expect(keptAnswer(address, await server.text(address))).toBe(answers[address])
        }
      }
    }
    const verified = await retrai(['verify', '--data-dir', dataDir])
    expect(verified, verified.stdout).toMatchObject({ code: 0 })
    await expectNothingIn(golden, dataDir)
  })
})

/** New checkpoints come after the old ones; old and new are signed, and so are proofs. */
async function expectCheckpointsToGoOn(golden: GoldenFolder, server: Opened): Promise<void> {
  const keys = knownKeys(await server.json('/api/keys', PublishedKeys))
  const before = z
    .array(Checkpoint)
    .parse(JSON.parse(answerOf(golden, '/api/checkpoints?limit=1000')))
  const list = () => server.json('/api/checkpoints?limit=1000', z.array(Checkpoint))
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
  const proof = await server.json(`/api/runs/${run_id}/proof`, RunProof)
  expect(proof).toMatchObject({ length: records, last_kind: 'run_end' })
  expect(checkSeal(proof, keys)).toBe('good')
}

/** Earlier accesses stay, and new ones come after them. */
async function expectAccessesToBeKept(golden: GoldenFolder, server: Opened): Promise<void> {
  const before = Entries.parse(JSON.parse(answerOf(golden, '/api/access?limit=1000')))
  const list = () => server.json('/api/access?limit=1000', Entries)
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
