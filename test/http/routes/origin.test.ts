import { randomUUID } from 'node:crypto'
import { errAsync, okAsync } from 'neverthrow'
import { describe, expect } from 'vitest'
import type { PayloadOf } from '../../../src/domain/records.ts'
import type { AppDeps } from '../../../src/http/deps.ts'
import { EMPTY_TREE } from '../../../src/lib/git-objects.ts'
import { ask, problem, recordsOf } from '../../support/requests.ts'
import { CLAIM, type Report, type TestServer } from '../../support/server.ts'
import { testWith } from '../../support/test.ts'

/** Folders that do not exist any more. */
const gone = new Set<string>()
/** How many copies were planned. A model of this name has one, so that it counts as made. */
let copies = 0

const planRun: AppDeps['planRun'] = ({ goal = 'shell-goal', check, ...request }) => {
  const { all_of: _, goal_options: __, isolation: ___, ...more } = request
  const { mcp_servers: _____, run_id: ______, ...config } = more
  if (gone.has(config.cwd)) {
    return errAsync([{ field: 'cwd', message: `${config.cwd} does not exist.` }])
  }
  if (config.model_name === 'none') {
    return errAsync([{ field: 'model_name', message: 'There is no such model.' }])
  }
  const shell_goal = check
    ? { check_command: check.command, success_condition: check.conditions }
    : null
  const folder = (path: string) => ({ path, device: '1', inode: '1' })
  const isCopied = config.workspace === 'copy' && config.model_name === 'copied'
  copies += Number(isCopied)
  const cwd = isCopied ? `/copies/${copies}` : config.cwd
  return okAsync({
    config: { ...config, cwd, goal, shell_goal },
    system_prompt: `The project is the folder ${cwd}. At most ${config.max_iterations}.`,
    ...(isCopied ? { copy_of: folder(config.cwd), project: folder(cwd) } : {}),
  })
}

const test = testWith({ planRun })
let server: TestServer
test.beforeAll(({ server: started }) => {
  server = started
})

const request = {
  check: { command: 'make check' },
  model_name: 'openai/gpt-5.2',
  max_iterations: 7,
  max_tokens: 5000,
  hitl_enabled: true,
  reasoning_effort: 'high',
  protect: ['check.sh'],
  tools: { exclude: ['git_log'] },
  approvals: [{ tool: 'bash_exec', action: 'ask' }],
  instructions: 'Begin.',
  reason: 'A trial',
}

const snapshot = (tree: string): Report => ({
  type: 'record',
  made: { snapshot: { tree, files: 0, bytes: 0, left_out: [], packs: [] } },
})

/** A run that has ended. */
async function endedRun(body: object = {}, ...before: Report[]): Promise<string> {
  const runId = await server.createRun({ cwd: '/p', ...body }, CLAIM, ...before)
  await abort(runId)
  return runId
}

const abort = (runId: string) => ask(server, `POST /api/runs/${runId}/abort`)

async function post(path: string, sent: object, key?: string) {
  const named = key === undefined ? {} : { 'idempotency-key': key }
  const { status, body: answer } = await ask<Record<string, unknown> & { run_id: string }>(
    ...([server, `POST ${path}`, sent, named] as const),
  )
  return { status, answer }
}

const create = (body: object) => post('/api/runs', body)
const say = (runId: string, text: string, key?: string) =>
  post(`/api/runs/${runId}/messages`, { text }, key)

async function recordOf(runId: string, seq = 0) {
  const found = (await recordsOf(server, runId))[seq]
  if (found === undefined) throw new Error(`run ${runId} has no record ${seq}`)
  return found
}

/** The record of a run, as a run that begins from it names it. */
const named = async (runId: string, seq: number) => {
  return { run_id: runId, seq, hash: (await recordOf(runId, seq)).meta.hash }
}

const created = async (runId: string) =>
  (await recordOf(runId)).record.payload as PayloadOf<'run_created'>

const lastOf = async (runId: string) => server.readModel.get(runId)?.state.seq ?? -1

describe('a run that continues another one', () => {
  test('has all that the other was asked for, but what the request names, and names its last record', async () => {
    const runId = await endedRun(request)
    const { status, answer } = await create({
      continues: { run_id: runId },
      instructions: 'Continue.',
      max_tokens: 9000,
      model_name: 'other',
    })
    expect(status).toBe(201)
    const before = await created(runId)
    const now = await created(answer.run_id)
    expect(now.config).toEqual({ ...before.config, max_tokens: 9000, model_name: 'other' })
    expect(now).toMatchObject({ instructions: 'Continue.', system_prompt: before.system_prompt })
    expect(now).not.toHaveProperty('reason')
    const origin = await named(runId, await lastOf(runId))
    expect(now.origin).toEqual({ kind: 'continue', ...origin })
    expect(now.taken_over).toEqual({ introduced: false })
  })

  test('needs no words, a limit can be taken away, and another goal has a prompt of its own', async () => {
    const continues = { run_id: await endedRun(request) }
    const free = await created((await create({ continues, max_tokens: null })).answer.run_id)
    expect([free.config.max_tokens, free.instructions]).toEqual([null, undefined])
    const asked = { max_iterations: 3, check: { command: 'make other' } }
    const other = await created((await create({ continues, ...asked })).answer.run_id)
    expect(other.config.shell_goal?.check_command).toBe('make other')
    expect(other.system_prompt).toBe('The project is the folder /p. At most 3.')
  })

  test('is refused while the other has not ended, if there is none, and if the request is not valid', async () => {
    const runId = await server.createRun({ cwd: '/p' })
    expect(await create({ continues: { run_id: runId } })).toMatchObject({
      status: 409,
      answer: problem('run_not_ended'),
    })
    expect((await create({ continues: { run_id: randomUUID() } })).status).toBe(404)
    for (const body of [
      { continues: { run_id: randomUUID() }, fork: { run_id: randomUUID(), at: 0 } },
      { continues: { run_id: 'x' } },
      { fork: { run_id: randomUUID() } },
      { fork: { run_id: runId, at: 5 } },
    ]) {
      expect((await create({ goal: 'pytest', ...body })).status).toBe(422)
    }
  })

  test('is refused with all that is wrong with its changes, and with another folder', async () => {
    const runId = await endedRun(request)
    const refused = await create({ continues: { run_id: runId }, model_name: 'none' })
    expect(refused).toMatchObject({ status: 422, answer: { errors: [{ field: 'model_name' }] } })
    const moved = await create({ continues: { run_id: runId }, cwd: '/q' })
    expect(moved).toMatchObject({ status: 422, answer: { errors: [{ field: 'cwd' }] } })
  })

  test('is refused if the other is removed while it is planned', async ({ startServer }) => {
    const at = { length: 1, head: '0'.repeat(64), entry: 0, removed_at: '2026-01-01T00:00:00.000Z' }
    const by = { rule: 'old', action: 'remove', principal: null } as const
    let other = ''
    let removed = ''
    const own = await startServer({
      planRun: (asked) => {
        removed = other
        return planRun(asked)
      },
      retention: {
        removalOf: (run_id) => (run_id === removed ? { run_id, ...at, ...by } : undefined),
        removalBeginning: () => undefined,
        holdOf: () => undefined,
        hold: () => okAsync(undefined),
        release: () => okAsync(undefined),
        retain: () => okAsync([]),
      },
    })
    other = await own.createRun({ cwd: '/p' }, CLAIM)
    await ask(own, `POST /api/runs/${other}/abort`)
    const { status, body } = await ask(own, 'POST /api/runs', { continues: { run_id: other } })
    expect([status, body]).toMatchObject([410, problem('run_removed')])
    expect(await ask(own, 'GET /api/runs')).toMatchObject({ body: [{ run_id: other }] })
  })

  test('is refused if the folder, or the files of the last snapshot, are gone', async () => {
    const inFolder = await endedRun({ cwd: '/gone' })
    const withFiles = await endedRun({}, snapshot(EMPTY_TREE))
    gone.add('/gone')
    const folder = await create({ continues: { run_id: inFolder } })
    expect(folder).toMatchObject({ status: 409, answer: problem('origin_gone') })
    expect(folder.answer.detail).toContain('/gone does not exist')
    expect((await create({ continues: { run_id: withFiles } })).status).toBe(201)
    const lost = await endedRun({}, snapshot('0'.repeat(64)))
    const files = await create({ continues: { run_id: lost } })
    expect(files).toMatchObject({ status: 409, answer: problem('origin_gone') })
    expect(files.answer.detail).toContain('The files of its snapshot, record 3, are gone')
  })
})

describe('a fork', () => {
  test('begins from any record, also of a run at work, in a copy', async () => {
    const runId = await server.createRun({ cwd: '/p', ...request }, CLAIM)
    const fork = { run_id: runId.toUpperCase(), at: 2 }
    const { status, answer } = await create({ fork, instructions: 'Otherwise.' })
    expect(status).toBe(201)
    const now = await created(answer.run_id)
    expect(now.origin).toEqual({ kind: 'fork', ...(await named(runId, 2)) })
    const { config } = await created(runId)
    expect(now.config).toEqual({ ...config, workspace: 'copy' })
  })

  test('is continued in its copy, or in a new copy of the same project if that is gone', async () => {
    const runId = await endedRun(request)
    const forked = await create({ fork: { run_id: runId, at: 0 }, model_name: 'copied' })
    const { config, copy_of, system_prompt } = await created(forked.answer.run_id)
    expect([config.cwd, copy_of?.path]).toEqual(['/copies/1', '/p'])
    expect(system_prompt).toBe('The project is the folder /copies/1. At most 7.')
    await abort(forked.answer.run_id)
    const inIt = await created((await say(forked.answer.run_id, 'Continue.')).answer.run_id)
    expect(inIt.config).toEqual(config)
    expect(inIt.copy_of).toEqual(copy_of)
    gone.add('/copies/1')
    const inNew = await created((await say(forked.answer.run_id, 'Continue.')).answer.run_id)
    expect(inNew.config).toEqual({ ...config, cwd: '/copies/2' })
    expect(inNew).toMatchObject({ origin: { kind: 'continue' }, copy_of })
  })

  test('has the hidden check of a run that has ended, and never shows one before', async () => {
    const accept = { files: { 'accept.sh': 'true\n' }, command: 'bash accept.sh' }
    const runId = await server.createRun({ cwd: '/p', accept, accept_feedback: true })
    const at = { fork: { run_id: runId, at: 0 } }
    const { accept: kept } = (await created(runId)).config
    expect(await create(at)).toMatchObject({ status: 409 })
    const own = await created((await create({ ...at, accept })).answer.run_id)
    expect(own.config.accept?.sha256).not.toBe(kept?.sha256)
    await abort(runId)
    const { answer } = await create({ ...at, accept_feedback: false })
    const { feedback: _, ...without } = kept ?? { sha256: '', files: 0 }
    expect((await created(answer.run_id)).config.accept).toEqual({ ...without, shown: true })
    const again = await create({ fork: { run_id: answer.run_id, at: 0 } })
    expect((await created(again.answer.run_id)).config.accept?.shown).toBe(true)
  })
})

describe('a message to a run that has ended', () => {
  test('starts a run that continues it', async () => {
    const runId = await endedRun(request)
    const { status, answer } = await say(runId, 'Now the docs.')
    const continues = await named(runId, await lastOf(runId))
    expect([status, answer]).toEqual([201, { run_id: answer.run_id, status: 'running', continues }])
    const { config, instructions } = await created(answer.run_id)
    expect([config, instructions]).toEqual([(await created(runId)).config, 'Now the docs.'])
  })

  test('begins one if it is repeated with the same key, also if the origin is gone since', async () => {
    const runId = await endedRun({ cwd: '/once' })
    const key = randomUUID()
    const first = await say(runId, 'Continue.', key)
    gone.add('/once')
    const second = await say(runId, 'Continue.', key)
    expect([first.status, second.status]).toEqual([201, 200])
    expect(second.answer).toEqual(first.answer)
    const other = await say(await endedRun(), 'Continue.', key)
    expect(other).toMatchObject({ status: 409, answer: problem('key_reused') })
  })

  test('begins none if it was sent before the end', async () => {
    const runId = await server.createRun({ cwd: '/p' })
    const key = randomUUID()
    const first = await say(runId, 'Hurry.', key)
    await abort(runId)
    const second = await say(runId, 'Hurry.', key)
    expect(second).toEqual({ status: 200, answer: { ...first.answer, status: 'aborted' } })
    expect(await say(runId, 'Slowly.', key)).toMatchObject({ answer: problem('key_reused') })
  })

  test('is refused if the person has seen another record', async () => {
    const runId = await endedRun()
    const seen = { seq: 1, hash: '0'.repeat(64) }
    const body = { text: 'Continue.', seen }
    expect(await post(`/api/runs/${runId}/messages`, body)).toMatchObject({
      status: 409,
      answer: problem('seen_otherwise'),
    })
    const { hash } = (await recordOf(runId, 1)).meta
    const right = { text: 'Continue.', seen: { seq: 1, hash } }
    expect((await post(`/api/runs/${runId}/messages`, right)).status).toBe(201)
  })
})

test('the list and the details name the origin, and the list has a filter for it', async () => {
  const runId = await endedRun()
  const { run_id } = (await say(runId, 'Continue.')).answer
  const { origin } = await created(run_id)
  const read = async (path: string) => (await ask(server, `GET /api/runs${path}`)).body
  expect(await read(`/${run_id}`)).toMatchObject({ origin })
  expect(await read(`?origin=${runId}`)).toMatchObject([{ run_id, origin }])
  expect(await read(`/${runId}`)).not.toHaveProperty('origin')
})

test('the details say that a text of what a run begins from is redacted', async () => {
  const runId = await endedRun({ instructions: 'My name is Ada.' })
  const second = (await say(runId, 'Continue.')).answer.run_id
  await abort(second)
  const third = (await say(second, 'Continue.')).answer.run_id
  const early = (await create({ fork: { run_id: runId, at: 0 } })).answer.run_id
  const details = (id: string) => ask(server, `GET /api/runs/${id}`)
  const before = await details(third)
  expect(before.body).not.toHaveProperty('origin_redacted')
  const redacted = { seq: 0, pointer: '/instructions', reason: 'A name' }
  expect((await post(`/api/runs/${runId}/redact`, redacted)).status).toBe(200)
  const after = await details(third)
  expect(after.body).toMatchObject({ origin_redacted: true })
  expect(after.headers.get('etag')).not.toBe(before.headers.get('etag'))
  expect((await details(early)).body).toMatchObject({ origin_redacted: true })
})
