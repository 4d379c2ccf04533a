import { randomUUID } from 'node:crypto'
import { errAsync, okAsync } from 'neverthrow'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PayloadOf } from '../../../src/domain/records.ts'
import { EMPTY_TREE } from '../../../src/lib/git-objects.ts'
import { readRecords } from '../../../src/log/run-log.ts'
import { CLAIM, json, type Report, startTestServer, type TestServer } from '../../support/server.ts'

let server: TestServer
/** Folders that do not exist any more. */
const gone = new Set<string>()
/** How many copies were planned. A model of this name has one, so that it counts as made. */
let copies = 0

beforeAll(async () => {
  server = await startTestServer({
    planRun: ({ goal = 'shell-goal', check, ...request }) => {
      const { all_of: _, goal_options: __, isolation: ___, command_limits: ____, ...more } = request
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
    },
  })
})
afterAll(() => server.stop())

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
  const runId = await server.createRun({ cwd: '/p', ...body })
  await server.agentDoes(runId, CLAIM, ...before)
  await fetch(`${server.url}/api/runs/${runId}/abort`, { method: 'POST' })
  return runId
}

async function post(path: string, body: object, key?: string) {
  const sent = json('POST', body)
  const named = key === undefined ? {} : { 'idempotency-key': key }
  const response = await fetch(`${server.url}${path}`, {
    ...sent,
    headers: { ...sent.headers, ...named },
  })
  const answer = (await response.json()) as Record<string, unknown> & { run_id: string }
  return { status: response.status, answer }
}

const create = (body: object, key?: string) => post('/api/runs', body, key)
const say = (runId: string, text: string, key?: string) =>
  post(`/api/runs/${runId}/messages`, { text }, key)

async function recordOf(runId: string, seq = 0) {
  const [found] = (await readRecords(server.store, runId, seq, 1))._unsafeUnwrap()
  if (found === undefined) throw new Error(`run ${runId} has no record ${seq}`)
  return found
}

const created = async (runId: string) =>
  (await recordOf(runId)).record.payload as PayloadOf<'run_created'>

const lastOf = async (runId: string) => server.readModel.get(runId)?.state.seq ?? -1

const problem = (code: string) => ({ type: `urn:retrai:problem:${code}` })

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
    const [before, now] = [await created(runId), await created(answer.run_id)]
    expect(now.config).toEqual({ ...before.config, max_tokens: 9000, model_name: 'other' })
    expect(now).toMatchObject({ instructions: 'Continue.', system_prompt: before.system_prompt })
    expect(now).not.toHaveProperty('reason')
    const seq = await lastOf(runId)
    const { hash } = (await recordOf(runId, seq)).meta
    expect(now.origin).toEqual({ kind: 'continue', run_id: runId, seq, hash })
    expect(now.taken_over).toEqual({ introduced: false })
  })

  test('needs no words, and a limit can be taken away', async () => {
    const runId = await endedRun(request)
    const { answer } = await create({ continues: { run_id: runId }, max_tokens: null })
    const { config, instructions } = await created(answer.run_id)
    expect([config.max_tokens, instructions]).toEqual([null, undefined])
  })

  test('has a prompt of its own if it has another goal', async () => {
    const runId = await endedRun(request)
    const asked = { max_iterations: 3, check: { command: 'make other' } }
    const { answer } = await create({ continues: { run_id: runId }, ...asked })
    const { config, system_prompt } = await created(answer.run_id)
    expect(config.shell_goal?.check_command).toBe('make other')
    expect(system_prompt).toBe('The project is the folder /p. At most 3.')
  })

  test('is refused while the other has not ended, and if there is none', async () => {
    const runId = await server.createRun({ cwd: '/p' })
    expect(await create({ continues: { run_id: runId } })).toMatchObject({
      ...{ status: 409, answer: problem('run_not_ended') },
    })
    expect((await create({ continues: { run_id: randomUUID() } })).status).toBe(404)
  })

  test.each([
    { continues: { run_id: randomUUID() }, fork: { run_id: randomUUID(), at: 0 } },
    { continues: { run_id: 'x' } },
    { fork: { run_id: randomUUID() } },
  ])('is refused if the request is not valid: %j', async (body) => {
    expect((await create({ goal: 'pytest', ...body })).status).toBe(422)
  })

  test('is refused with all that is wrong with its changes, and with another folder', async () => {
    const runId = await endedRun(request)
    const refused = await create({ continues: { run_id: runId }, model_name: 'none' })
    expect(refused).toMatchObject({ status: 422, answer: { errors: [{ field: 'model_name' }] } })
    const moved = await create({ continues: { run_id: runId }, cwd: '/q' })
    expect(moved).toMatchObject({ status: 422, answer: { errors: [{ field: 'cwd' }] } })
  })

  test('is begun once by the same request', async () => {
    const body = { continues: { run_id: await endedRun() }, instructions: 'Continue.' }
    const key = randomUUID()
    const [first, second] = [await create(body, key), await create(body, key)]
    expect([first.status, second.status]).toEqual([201, 200])
    expect(second.answer.run_id).toBe(first.answer.run_id)
    const other = await create({ ...body, instructions: 'Stop.' }, key)
    expect(other).toMatchObject({ status: 409, answer: problem('key_reused') })
  })

  test('is refused if the folder, or the files of the last snapshot, are gone', async () => {
    const [inFolder, withFiles] = [
      await endedRun({ cwd: '/gone' }),
      await endedRun({}, snapshot(EMPTY_TREE)),
    ]
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
    const runId = await server.createRun({ cwd: '/p', ...request })
    await server.agentDoes(runId, CLAIM)
    const fork = { run_id: runId.toUpperCase(), at: 2 }
    const { status, answer } = await create({ fork, instructions: 'Otherwise.' })
    expect(status).toBe(201)
    const now = await created(answer.run_id)
    const { hash } = (await recordOf(runId, 2)).meta
    expect(now.origin).toEqual({ kind: 'fork', run_id: runId, seq: 2, hash })
    const { config } = await created(runId)
    expect(now.config).toEqual({ ...config, workspace: 'copy' })
  })

  test('is continued in its copy, or in a new copy of the same project if that is gone', async () => {
    const runId = await endedRun(request)
    const forked = await create({ fork: { run_id: runId, at: 0 }, model_name: 'copied' })
    const { config, copy_of, system_prompt } = await created(forked.answer.run_id)
    expect([config.cwd, copy_of?.path]).toEqual(['/copies/1', '/p'])
    expect(system_prompt).toBe('The project is the folder /copies/1. At most 7.')
    await fetch(`${server.url}/api/runs/${forked.answer.run_id}/abort`, { method: 'POST' })
    const inIt = await created((await say(forked.answer.run_id, 'Continue.')).answer.run_id)
    expect(inIt.config).toEqual(config)
    expect(inIt.copy_of).toEqual(copy_of)
    gone.add('/copies/1')
    const inNew = await created((await say(forked.answer.run_id, 'Continue.')).answer.run_id)
    expect(inNew.config).toEqual({ ...config, cwd: '/copies/2' })
    expect(inNew).toMatchObject({ origin: { kind: 'continue' }, copy_of })
  })

  test('is refused beyond the log', async () => {
    const runId = await server.createRun({ cwd: '/p' })
    expect(await create({ fork: { run_id: runId, at: 5 } })).toMatchObject({
      ...{ status: 422, answer: { errors: [{ field: 'fork.at' }] } },
    })
  })

  test('keeps the hidden check hidden, and says if everybody can read it', async () => {
    const accept = { files: { 'accept.sh': 'true\n' }, command: 'bash accept.sh' }
    const runId = await server.createRun({ cwd: '/p', accept, accept_feedback: true })
    const at = { fork: { run_id: runId, at: 0 } }
    const { accept: kept } = (await created(runId)).config
    const early = await created((await create(at)).answer.run_id)
    expect(early.config.accept).toEqual(kept)
    await fetch(`${server.url}/api/runs/${runId}/abort`, { method: 'POST' })
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
    const seq = await lastOf(runId)
    const { hash } = (await recordOf(runId, seq)).meta
    expect({ status, answer }).toEqual({
      status: 201,
      answer: {
        ...{ run_id: answer.run_id, status: 'running' },
        continues: { run_id: runId, seq, hash },
      },
    })
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
    await fetch(`${server.url}/api/runs/${runId}/abort`, { method: 'POST' })
    const second = await say(runId, 'Hurry.', key)
    expect(second).toEqual({ status: 200, answer: { ...first.answer, status: 'aborted' } })
    expect(await say(runId, 'Slowly.', key)).toMatchObject({ answer: problem('key_reused') })
  })

  test('is refused if the person has seen another record', async () => {
    const runId = await endedRun()
    const seen = { seq: 1, hash: '0'.repeat(64) }
    const body = { text: 'Continue.', seen }
    expect(await post(`/api/runs/${runId}/messages`, body)).toMatchObject({
      ...{ status: 409, answer: problem('seen_otherwise') },
    })
    const { hash } = (await recordOf(runId, 1)).meta
    const right = { text: 'Continue.', seen: { seq: 1, hash } }
    expect((await post(`/api/runs/${runId}/messages`, right)).status).toBe(201)
  })
})

test('the list and the details name the origin, and the list has a filter for it', async () => {
  const runId = await endedRun()
  const { answer } = await say(runId, 'Continue.')
  const { origin } = await created(answer.run_id)
  const read = async (path: string) =>
    (await (await fetch(`${server.url}${path}`)).json()) as Record<string, unknown>
  expect(await read(`/api/runs/${answer.run_id}`)).toMatchObject({ origin })
  expect(await read(`/api/runs?origin=${runId}`)).toMatchObject([{ run_id: answer.run_id, origin }])
  expect(await read(`/api/runs/${runId}`)).not.toHaveProperty('origin')
})

test('the details say that a text of what a run begins from is redacted', async () => {
  const runId = await endedRun({ instructions: 'My name is Ada.' })
  const second = (await say(runId, 'Continue.')).answer.run_id
  await fetch(`${server.url}/api/runs/${second}/abort`, { method: 'POST' })
  const third = (await say(second, 'Continue.')).answer.run_id
  const early = (await create({ fork: { run_id: runId, at: 0 } })).answer.run_id
  const details = async (id: string) => {
    const response = await fetch(`${server.url}/api/runs/${id}`)
    return { body: await response.json(), etag: response.headers.get('etag') }
  }
  const before = await details(third)
  expect(before.body).not.toHaveProperty('origin_redacted')
  const redacted = { seq: 0, pointer: '/instructions', reason: 'A name' }
  expect((await post(`/api/runs/${runId}/redact`, redacted)).status).toBe(200)
  const after = await details(third)
  expect(after.body).toMatchObject({ origin_redacted: true })
  expect(after.etag).not.toBe(before.etag)
  expect((await details(early)).body).toMatchObject({ origin_redacted: true })
})
