/**
 * Writes the golden data folder of this version, unless it is there: `node test/golden/write-folder.ts`.
 * An existing folder is never written again, because it represents the version that wrote it.
 *
 * v0.1.0 was written at commit 4d28809.
 *
 * It needs a machine of its own, such as a container, and root: the projects of the runs are `/project`,
 * which must not be there before and is removed again, and `/usr`. So nothing of the machine is in what it
 * writes, and the runs that later versions continue find a folder that every machine has, apart from the
 * data folder. They change nothing in it.
 */
import { type ChildProcess, execFile } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createGzip } from 'node:zlib'
import { packTar } from 'modern-tar/fs'
import * as z from 'zod'
import { type ServerProcess, startServerProcess } from '../../examples/demo/server.ts'
import type { Fault, Turn } from '../../examples/scripted-model/script.ts'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { CLI, cleanEnv } from '../cli/support.ts'
import { type About, folderUrl, keptAnswer, leaveAlone } from './folders.ts'

const NAME = `v${packageJson.version}`
const PROJECT = '/project'
const EVERYWHERE = '/usr'
const MTIME = new Date('2026-01-01T00:00:00.000Z')
/** The name of the machine is in records. */
const OTHER_HOST = `--import=data:text/javascript,${encodeURIComponent(
  "import os from 'node:os'; import { syncBuiltinESMExports } from 'node:module';" +
    "os.hostname = () => 'machine'; syncBuiltinESMExports()",
)}`

/** Texts that are redacted: one in this log, one in the log that a run was imported from. */
const ORCHID = 'orchid-on-the-sill-7f3a'
const LILY = 'lily-in-the-hall-2c9e'

const bash = (command: string, more: object = {}) => ({
  tool: 'bash_exec',
  args: { command, ...more },
})

/** Replies by the name of the model. */
const SCRIPTS: Readonly<Record<string, readonly (Turn | Fault)[]>> = {
  'gpt-5-mini': [
    {
      text: 'Grüße 🌍, I look first.',
      first: [{ status: 503 }],
      calls: [
        { tool: 'file_list', args: {} },
        { tool: 'file_read', args: { path: 'notes.txt' } },
        { tool: 'file_read', args: { path: 'no-such-file' } },
        bash('printf "a\\tb\\n"; exit 3'),
        { tool: 'rm_rf', args: { path: '/' } },
        // A model that sends malformed arguments.
        { tool: 'bash_exec', args: ['true'] as never },
        bash('yes "2 of 3 tests failed" | head -n 9000'),
        bash('sleep 60', { timeout_s: 1 }),
      ],
    },
    {
      text: 'Now I write.',
      calls: [
        { tool: 'file_write', args: { path: 'sum.js', content: 'export const sum = 1 + 1\n' } },
        { tool: 'file_patch', args: { path: 'notes.txt', old: 'little', new: 'nothing' } },
      ],
    },
    { text: 'The last thing to do.', calls: [bash('touch done')] },
  ],
  redacted: [
    {
      text: `I try ${ORCHID}.`,
      calls: [
        bash(`echo "is it ${ORCHID}"`),
        bash(`yes a | head -n 20000; echo ${ORCHID}; yes b | head -n 20000`),
        bash('true'),
      ],
    },
  ],
  imported: [
    {
      text: `I try ${LILY}.`,
      calls: [bash(`echo "is it ${LILY}"`), bash('yes "all is well" | head -n 9000')],
    },
  ],
  changed: [{ first: [{ status: 503 }] }],
  'changed-later': [{}, { text: 'I cannot.' }],
  aborted: [{ calls: [bash(`touch ${PROJECT}/aborted; sleep 600`), bash('true')] }],
  failed: [{ status: 401, body: 'bad key' }],
  'taken-up': [
    { calls: [bash(`touch ${PROJECT}/taken-up; sleep 20`), bash('echo once')] },
    { text: 'It may have run.' },
  ],
  waiting: [{ text: 'I need somebody.' }],
  unfinished: [{ calls: [bash(`touch ${PROJECT}/unfinished; sleep 20`), bash('echo once')] }],
}

const LEAF = z.object({ run_id: z.string() })
const CREATED = z.object({ run_id: z.uuid() })
const NEW_TOKEN = z.object({ name: z.string(), role: z.string(), secret: z.string() })
const FRAMES = z.array(
  z.looseObject({
    seq: z.int(),
    kind: z.string(),
    payload: z.looseObject({}),
    meta: z.looseObject({ hash: z.string() }).optional(),
  }),
)
type Frame = z.infer<typeof FRAMES>[number]
const STATUS = z.object({ status: z.string() })
const REDACTED = z.object({ artifact: z.string().nullable() })

/** A server, and somebody who uses it with a token. */
class Desk {
  readonly #server: ServerProcess
  readonly #secret: string | null

  constructor(server: ServerProcess, secret: string | null) {
    this.#server = server
    this.#secret = secret
  }

  as(secret: string): Desk {
    return new Desk(this.#server, secret)
  }

  async ask(
    method: string,
    path: string,
    body?: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ readonly status: number; readonly text: string }> {
    const answer = await fetch(`${this.#server.url}${path}`, {
      method,
      headers: {
        ...(this.#secret === null ? {} : { authorization: `Bearer ${this.#secret}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: answer.status, text: await answer.text() }
  }

  /** The text of an answer of 2xx. */
  async text(method: string, path: string, body?: object, headers = {}): Promise<string> {
    const { status, text } = await this.ask(method, path, body, headers)
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`)
    return text
  }

  async json(method: string, path: string, body?: object, headers = {}): Promise<unknown> {
    return JSON.parse(await this.text(method, path, body, headers))
  }

  retrai(args: readonly string[], input = ''): Promise<string> {
    const token = this.#secret === null ? {} : { RETRAI_TOKEN: this.#secret }
    return retrai(args, { ...token, RETRAI_SERVER: this.#server.url }, input)
  }

  async frames(runId: string): Promise<Frame[]> {
    const path = `/api/runs/${runId}/events?kinds=all&meta=true&limit=5000`
    return FRAMES.parse(await this.json('GET', path))
  }

  /** The last frame of a run, once it has this kind. */
  async until(runId: string, kind: string): Promise<Frame> {
    return until(async () => {
      const last = (await this.frames(runId)).at(-1)
      return last?.kind === kind ? last : null
    })
  }

  async newToken(name: string, role: string, more: object = {}) {
    const { secret } = NEW_TOKEN.parse(
      await this.json('POST', '/api/tokens', { name, role, ...more }),
    )
    return { name, role, secret }
  }

  /** Watches a run over a WebSocket to its end. */
  async watch(runId: string): Promise<void> {
    await once(this.#socket(`/api/ws/${runId}?kinds=all`), 'close')
  }

  /** Looks at the feed of all runs for a moment. */
  async glance(): Promise<void> {
    const feed = this.#socket('/api/ws')
    await once(feed, 'open')
    feed.close()
    await once(feed, 'close')
  }

  #socket(path: string): WebSocket {
    const bearer = `retrai.bearer.${Buffer.from(this.#secret ?? '').toString('base64url')}`
    return new WebSocket(`${this.#server.url.replace('http', 'ws')}${path}`, ['retrai', bearer])
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const exited = once(this.#server.process as ChildProcess, 'exit')
    this.#server.process.kill(signal)
    await exited
  }
}

async function until<T>(look: () => Promise<T | null>): Promise<T> {
  for (let tries = 0; tries < 600; tries += 1) {
    const found = await look()
    if (found !== null) return found
    await delay(50)
  }
  throw new Error(`it never came: ${look}`)
}

const untilFile = (path: string): Promise<true> => until(async () => existsSync(path) || null)

async function retrai(args: readonly string[], env = {}, input = ''): Promise<string> {
  const running = promisify(execFile)(process.execPath, [CLI, ...args], {
    env: { ...cleanEnv(), ...env },
  })
  running.child.stdin?.end(input)
  return (await running).stdout
}

async function open(
  dataDir: string,
  modelUrl: string,
  secret: string | null,
  settings: Readonly<Record<string, string>> = {},
): Promise<Desk> {
  const server = await startServerProcess(['--port', '0', '--data-dir', dataDir], {
    ...cleanEnv(),
    NODE_OPTIONS: OTHER_HOST,
    RETRAI_LLM_BASE_URL: modelUrl,
    ...settings,
  })
  await until(async () => (await fetch(`${server.url}/health/ready`)).ok || null)
  return new Desk(server, secret)
}

type WantedRun = {
  readonly check: string
  readonly model_name: string
  readonly cwd?: string
  readonly hitl_enabled?: boolean
  readonly reason?: string
}

/** Creates a run whose goal is this shell command. */
async function create(
  desk: Desk,
  { check, ...request }: WantedRun,
  headers: Readonly<Record<string, string>> = {},
): Promise<string> {
  const body = { goal: 'shell-goal', cwd: PROJECT, max_iterations: 5, ...request }
  const settings = join(body.cwd, '.retrai.yml')
  await writeFile(settings, `check_command: ${JSON.stringify(check)}\n`)
  const created = await desk.json('POST', '/api/runs', body, headers)
  if (body.cwd === EVERYWHERE) await rm(settings)
  return CREATED.parse(created).run_id
}

/** Redacts every text of a run that contains this one; resolves to the whole outputs that were deleted with it. */
async function redact(desk: Desk, runId: string, text: string): Promise<string[]> {
  const call = (await desk.frames(runId)).find(
    ({ kind, payload }) => kind === 'tool_call' && JSON.stringify(payload).includes(text),
  )
  const place = [runId, String(call?.seq), '/args', '--reason', 'a password']
  const options = ['--secret-file', '-', '--everywhere', '--json']
  const lines = (await desk.retrai(['redact', ...place, '--yes', ...options], text))
    .trimEnd()
    .split('\n')
  const artifacts = lines.map((line) => REDACTED.parse(JSON.parse(line)).artifact)
  return artifacts.filter((artifact) => artifact !== null)
}

const exportTo = (desk: Desk, folder: string, name: string, runId: string) =>
  desk.retrai(['export', runId, '-o', join(folder, 'exports', `${name}.tar.gz`)])

async function answersAbout(desk: Desk, runs: About['runs']): Promise<Record<string, string>> {
  const answers: Record<string, string> = {}
  const keep = async (path: string): Promise<string> => {
    const text = await desk.text('GET', path)
    answers[path] = text
    return text
  }
  await keep('/api/runs')
  await keep('/api/runs?status=achieved&limit=2')
  for (const { run_id, records, status } of Object.values(runs)) {
    const path = `/api/runs/${run_id}`
    const last = records - 1
    if (status !== 'running') await keep(path)
    await keep(`${path}?at=${last}`)
    await keep(`${path}?at=${Math.floor(last / 2)}`)
    if (status !== 'running') await keep(`${path}/events`)
    const events = await keep(`${path}/events?kinds=all&limit=${records}`)
    await keep(`${path}/events?kinds=all&limit=${records}&meta=true`)
    // That of the last record says by which later one it was answered.
    await keep(`${path}/conversation?at=${status === 'running' ? 2 : last}`)
    await keep(`${path}/diff?from=0&to=${last}`)
    await keep(`${path}/redactions`)
    const results = FRAMES.parse(JSON.parse(events)).filter(({ payload }) => payload.truncated)
    for (const { payload } of results) {
      const artifact = await desk.ask('GET', `${path}/artifacts/${payload.sha256}`)
      if (artifact.status === 200) answers[`${path}/artifacts/${payload.sha256}`] = artifact.text
    }
  }
  const count = Object.values(runs).reduce((sum, { records }) => sum + records, 0)
  await keep(`/api/events?kinds=all&limit=${count}`)
  for (const ledger of ['access', 'redactions', 'tokens']) await keep(`/api/ledgers/${ledger}`)
  for (const path of ['access?limit=1000', 'keys', 'tokens']) await keep(`/api/${path}`)
  await keep('/api/checkpoints?limit=1000')
  const latest = await keep('/api/checkpoints/latest')
  const { number } = z.object({ number: z.int() }).parse(JSON.parse(latest))
  const leaves = await keep(`/api/checkpoints/${number}/runs`)
  for (const line of leaves.trimEnd().split('\n')) {
    await keep(`/api/checkpoints/${number}/runs/${LEAF.parse(JSON.parse(line)).run_id}`)
  }
  return answers
}

async function write(folder: string): Promise<About> {
  const data = join(folder, 'data')
  const model = await startScriptedModel({
    script: ({ model, turn }) => SCRIPTS[model]?.[turn] ?? { text: 'My script ends here.' },
  })
  await mkdir(join(folder, 'exports'))
  await writeFile(join(PROJECT, 'notes.txt'), 'There is little to do.\n')

  // A run of another server, and what was redacted there.
  const elsewhere = await open(join(folder, 'elsewhere'), model.url, null)
  const imported = await create(elsewhere, { check: 'true', model_name: 'imported' })
  await elsewhere.until(imported, 'run_end')
  await redact(elsewhere, imported, LILY)
  await exportTo(elsewhere, folder, 'imported', imported)
  const foreignKeys = KEYS.parse(await elsewhere.json('GET', '/api/keys'))
  await elsewhere.stop('SIGTERM')

  const first = await retrai([
    ...['token', 'create', 'ada', '--role', 'admin', '--data-dir', data, '--json'],
  ])
  const admin = NEW_TOKEN.parse(JSON.parse(first))
  await retrai(['import', join(folder, 'exports/imported.tar.gz'), '--data-dir', data])

  const checkpoints = { RETRAI_CHECKPOINT_SECONDS: '1' }
  let desk = await open(data, model.url, admin.secret, checkpoints)
  const tokens: About['tokens'] = {
    admin: { name: admin.name, role: admin.role, secret: admin.secret },
    viewer: await desk.newToken('eve', 'viewer'),
    auditor: await desk.newToken('grace', 'auditor'),
    revoked: await desk.newToken('ci', 'operator'),
    expired: await desk.newToken('guest', 'viewer', { expires_in: 2 }),
  }
  const idempotent = {
    key: 'the-first-one',
    body: {
      ...{ goal: 'shell-goal', cwd: PROJECT, max_iterations: 5, model_name: 'gpt-5-mini' },
      reason: 'to see how it works',
    },
  }
  const achieved = await create(
    desk,
    { check: 'test -f done', ...idempotent.body },
    { 'idempotency-key': idempotent.key },
  )
  await desk.as(tokens.viewer.secret).watch(achieved)
  await desk.until(achieved, 'run_end')
  const redacted = await create(desk.as(tokens.revoked.secret), {
    check: 'true',
    model_name: 'redacted',
  })
  await desk.until(redacted, 'run_end')

  const changed = await create(desk, { check: 'false', model_name: 'changed', hitl_enabled: true })
  const question = await desk.until(changed, 'human_check_required')
  const changes = { max_iterations: 2, model_name: 'changed-later', hitl_enabled: false }
  const seen = { seq: question.seq, hash: question.meta?.hash }
  await desk.json('PATCH', `/api/runs/${changed}/config`, { ...changes, reason: 'enough', seen })
  const decision = { decision: 'approve', seq: question.seq, reason: 'mind the tests', seen }
  await desk.json('POST', `/api/runs/${changed}/resume`, decision)
  await desk.until(changed, 'run_end')

  const takenUp = await create(desk, { check: 'true', model_name: 'taken-up' })
  await untilFile(join(PROJECT, 'taken-up'))
  const [list = ''] = (await desk.text('GET', '/api/checkpoints')).split('\n')
  if (list.length < 100) throw new Error('there is no checkpoint yet')
  await desk.stop('SIGKILL')
  await retrai(['key', 'rotate', '--data-dir', data])

  desk = await open(data, model.url, admin.secret, checkpoints)
  await desk.until(takenUp, 'run_end')
  const artifacts = await redact(desk, redacted, ORCHID)
  const aborted = await create(desk, { check: 'true', model_name: 'aborted' })
  await untilFile(join(PROJECT, 'aborted'))
  const shown = (await desk.frames(aborted)).at(-1)
  const abort = { reason: 'no need', seen: { seq: shown?.seq, hash: shown?.meta?.hash } }
  await desk.json('POST', `/api/runs/${aborted}/abort`, abort)
  const failed = await create(desk, { check: 'true', model_name: 'failed' })
  await desk.until(failed, 'run_end')
  const { status } = await desk.as(tokens.viewer.secret).ask('POST', `/api/runs/${failed}/abort`)
  if (status !== 403) throw new Error(`a viewer may abort: ${status}`)
  await desk.json('DELETE', `/api/tokens/${await idOf(desk, 'ci')}?reason=lost`)

  // Reached on every machine that has no such folder.
  const waiting = await create(desk, {
    ...{
      check: `test ! -e ${PROJECT}`,
      cwd: EVERYWHERE,
      model_name: 'waiting',
      hitl_enabled: true,
    },
  })
  await desk.until(waiting, 'human_check_required')
  const auditor = desk.as(tokens.auditor.secret)
  await exportTo(auditor, folder, 'achieved', achieved)
  await exportTo(auditor, folder, 'redacted', redacted)
  await exportTo(auditor, folder, 'changed', changed)
  await exportTo(auditor, folder, 'aborted', aborted)
  await exportTo(auditor, folder, 'waiting', waiting)
  await auditor.json('GET', `/api/runs/${achieved}/proof`)
  await auditor.text('GET', '/api/ledgers/redactions')
  await desk.as(tokens.viewer.secret).text('GET', '/api/events?limit=5')
  await desk.as(tokens.viewer.secret).text('GET', '/api/runs')
  await desk.as(tokens.viewer.secret).glance()
  await desk.as(tokens.revoked.secret).ask('GET', '/api/runs')
  const unfinished = await create(desk, {
    check: 'true',
    cwd: EVERYWHERE,
    model_name: 'unfinished',
  })
  await untilFile(join(PROJECT, 'unfinished'))
  // What was shown is noted within a second, and a checkpoint holds all runs.
  await until(async () => {
    const path = `/api/checkpoints/latest`
    const { number } = z.object({ number: z.int() }).parse(await desk.json('GET', path))
    const leaves = await desk.text('GET', `/api/checkpoints/${number}/runs`)
    return leaves.includes(unfinished) && leaves.includes('retrai-access') ? true : null
  })
  const keys = KEYS.parse(await desk.json('GET', '/api/keys')).keys.map((key) => key.fingerprint)
  const named = { achieved, redacted, changed, 'taken-up': takenUp, aborted, failed, imported }
  const runs: About['runs'] = {}
  for (const [name, run_id] of Object.entries({ ...named, waiting, unfinished })) {
    const records = (await desk.frames(run_id)).length
    const { status } = STATUS.parse(await desk.json('GET', `/api/runs/${run_id}`))
    runs[name] = { run_id, records, status }
  }
  await delay(1_500)
  await desk.stop('SIGKILL')
  await model.close()
  const ours = ['achieved', 'redacted', 'changed', 'aborted', 'waiting'].map((run) => {
    const exported = { run, complete: run !== 'waiting', key: keys[0] ?? '' }
    return [`${run}.tar.gz`, exported] as const
  })
  const foreign = { run: 'imported', complete: true, key: foreignKeys.keys[0]?.fingerprint ?? '' }
  return {
    written_by: packageJson.version,
    tokens,
    keys,
    runs,
    idempotent,
    redacted: { texts: [ORCHID, LILY], artifacts },
    exports: Object.fromEntries([...ours, ['imported.tar.gz', foreign] as const]),
  }
}
const KEYS = z.object({ keys: z.array(z.object({ fingerprint: z.string() })) })
const TOKENS = z.array(z.object({ id: z.string(), name: z.string() }))

async function idOf(desk: Desk, name: string): Promise<string> {
  const tokens = TOKENS.parse(await desk.json('GET', '/api/tokens'))
  return tokens.find((token) => token.name === name)?.id ?? ''
}

/** What this version answers about a copy of the folder. */
async function recorded(folder: string, about: About): Promise<Record<string, string>> {
  const copy = join(folder, 'copy')
  await cp(join(folder, 'data'), copy, { recursive: true })
  await leaveAlone(copy, about.runs.unfinished?.run_id ?? '')
  const model = await startScriptedModel({ script: () => ({ fault: 'hang' }) })
  const settings = { RETRAI_ACCESS_LOG: 'off', RETRAI_CHECKPOINT_SECONDS: '0' }
  const desk = await open(copy, model.url, about.tokens.admin.secret, settings)
  const answers = await answersAbout(desk, about.runs)
  await desk.stop('SIGKILL')
  await model.close()
  await rm(copy, { recursive: true })
  return Object.fromEntries(
    Object.entries(answers).map(([path, text]) => [path, keptAnswer(path, text)]),
  )
}

async function pack(from: string, to: string): Promise<void> {
  const plain = { uid: 0, gid: 0, uname: '', gname: '', mtime: MTIME }
  const tar = packTar(from, { map: (header) => ({ ...header, ...plain }) })
  await pipeline(tar, createGzip({ level: 9 }), createWriteStream(to))
}

const target = folderUrl(NAME)
if (existsSync(target)) {
  console.log(`${NAME} is there and stays as it is.`)
} else {
  if (existsSync(PROJECT)) throw new Error(`${PROJECT} is there: use a machine of its own`)
  const folder = await mkdtemp(join(tmpdir(), 'retrai-golden-'))
  await mkdir(PROJECT)
  try {
    const about = await write(folder)
    const answers = await recorded(folder, about)
    const again = await recorded(folder, about)
    for (const [path, text] of Object.entries(answers)) {
      if (text !== again[path]) throw new Error(`${path}: ${text}\nand then: ${again[path]}`)
    }
    await mkdir(target)
    await cp(join(folder, 'exports'), new URL('exports', target), { recursive: true })
    await pack(join(folder, 'data'), fileURLToPath(new URL('data.tar.gz', target)))
    const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`
    await writeFile(new URL('about.json', target), json(about))
    await writeFile(new URL('answers.json', target), json(answers))
    console.log(`${NAME}: ${await readFile(new URL('about.json', target), 'utf8')}`)
  } finally {
    await rm(folder, { recursive: true })
    await rm(PROJECT, { recursive: true })
  }
}
