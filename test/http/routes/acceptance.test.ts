import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { ROLES, type Role } from '../../../src/api/auth.ts'
import { unpacked } from '../../../src/audit/bundle/unpack.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import { readAcceptance } from '../../../src/log/acceptance.ts'
import { namesArtifact } from '../../../src/log/lineage.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import { streamPages } from '../../../src/log/stream-pages.ts'
import { guardSecrets } from '../../../src/masking/process-mask.ts'
import { inPython } from '../../audit/python.ts'
import { isMissing } from '../../support/missing.ts'
import { ask, recordsOf } from '../../support/requests.ts'
import { CLAIM, iteration, logger } from '../../support/server.ts'
import { bearer, type People, startWithPeople } from '../access/people.ts'

const CONTENT = 'assert add(2, 2) == 4  # orchid-on-the-sill\n'
const COMMAND = 'python3 hidden/test_marigold.py'
const accept = { files: { 'hidden/test_marigold.py': CONTENT }, command: COMMAND }
/** What nobody but an admin may see before the end. */
const HIDDEN = /orchid|marigold|add\(2/

let people: People
const log = logger('trace')
beforeAll(async () => {
  people = await startWithPeople({ logger: log.logger, accessLog: {} })
})
afterAll(() => people.server.stop())

const askAs = (role: Role, line: string, body?: unknown, headers = {}) =>
  ask<{ run_id: string }>(people.server, line, body, {
    ...bearer(people.secrets[role]),
    ...headers,
  })

const start = (body: object, headers?: Record<string, string>) =>
  askAs('operator', 'POST /api/runs', { goal: 'pytest', ...body }, headers)

const Recorded = z.strictObject({
  sha256: z.string(),
  files: z.int(),
  feedback: z.literal(true).optional(),
})

/** A run with a hidden check that has not ended. */
async function created(body: object = { accept }) {
  const { status, body: answer } = await start(body)
  expect(status).toBe(201)
  const { run_id: runId } = answer
  await people.server.agentDoes(runId, CLAIM)
  const [first] = await recordsOf(people.server, runId)
  const accepted = z.object({ config: z.object({ accept: Recorded }) })
  const recorded = accepted.parse(first?.record.payload).config.accept
  return { runId, recorded, address: `GET /api/runs/${runId}/artifacts/${recorded.sha256}` }
}

async function end(runId: string): Promise<void> {
  await people.server.agentDoes(runId, ...iteration(true))
  await expect
    .poll(() => people.server.readModel.get(runId)?.state.phase.type, { timeout: 5_000 })
    .toBe('ended')
}

async function exportOf(runId: string) {
  const headers = bearer(people.secrets.auditor)
  const answer = await fetch(`${people.server.url}/api/runs/${runId}/export`, { headers })
  expect(answer.status).toBe(200)
  const archive = Buffer.from(await answer.arrayBuffer())
  const [python] = isMissing('python3') ? [undefined] : await inPython([archive])
  const report = await verifyBundle(unpacked(Readable.from([archive])))
  return { text: gunzipSync(archive).toString('latin1'), report, python }
}

describe('a hidden check', () => {
  test('is recorded by its hash alone, and read by admins only until the run has ended', async () => {
    const { runId, recorded, address } = await created()
    // Otherwise its agent could read it as an output.
    const named = await namesArtifact(people.server.store, runId, recorded.sha256)
    expect(named._unsafeUnwrap()).toBe(false)
    expect(recorded).toEqual({ sha256: expect.stringMatching(/^[0-9a-f]{64}$/), files: 1 })
    for (const role of ROLES) {
      const { status, text } = await askAs(role, address)
      expect([role, status]).toEqual([role, role === 'admin' ? 200 : 403])
      if (role === 'admin') {
        expect(readAcceptance(Buffer.from(text), recorded.sha256)._unsafeUnwrap()).toEqual(accept)
        continue
      }
      expect(text).toContain(`only the role admin may read it, and yours is ${role}`)
    }
    await end(runId)
    for (const role of ROLES) {
      const { status, text } = await askAs(role, address)
      expect([role, status, text]).toEqual([role, 200, expect.stringMatching(HIDDEN)])
    }
    const other = await created()
    expect(other.recorded.sha256).not.toBe(recorded.sha256)
    const elsewhere = address.replace(runId, other.runId)
    expect((await askAs('admin', elsewhere)).status).toBe(404)
  })

  test('is in no record, no answer about the run, and no line of the log', async () => {
    const key = randomUUID()
    const { body } = await start({ accept, accept_feedback: true }, { 'idempotency-key': key })
    const { run_id: runId } = body
    await people.server.agentDoes(runId, CLAIM)
    const answers: string[] = []
    for (const path of ['', '/events?kinds=all', '/conversation', '/diff?from=0&to=1']) {
      const { status, text } = await askAs('viewer', `GET /api/runs/${runId}${path}`)
      expect([path, status]).toEqual([path, 200])
      answers.push(text)
    }
    for await (const page of streamPages(people.server.store, streamOf(runId))) {
      answers.push(JSON.stringify(page._unsafeUnwrap()))
    }
    for (const each of [
      { accept: { ...accept, files: { '../marigold': CONTENT } } },
      { accept: { ...accept, more: CONTENT } },
      { accept: { ...accept, files: { a: [CONTENT] } } },
      { accept, goal: 'orchid?' },
    ]) {
      const refused = await start(each)
      expect([refused.status, refused.text]).toEqual([422, expect.not.stringContaining('add(2')])
    }
    const broken = await askAs(
      'operator',
      'POST /api/runs',
      JSON.stringify({ accept }).slice(0, -9),
    )
    expect(broken.status).toBe(400)
    answers.push(broken.text, (await askAs('auditor', 'GET /api/access')).text)
    for (const text of answers) expect(text).not.toMatch(HIDDEN)
    expect(log.written()).toContain('request completed')
    expect(log.written()).not.toMatch(HIDDEN)
    // Who knows all else of the request cannot try what the check is.
    const hashes = await Promise.all(
      [CONTENT, 'another'].map(async (content) => {
        const asked = { accept: { files: { 'accept.py': content }, command: COMMAND } }
        const made = await start(asked, { 'idempotency-key': randomUUID() })
        const { text } = await askAs(
          'viewer',
          `GET /api/runs/${made.body.run_id}/events?kinds=run_created`,
        )
        return /"request_sha256":"([0-9a-f]{64})"/.exec(text)?.[1]
      }),
    )
    expect(hashes[0]).toBeDefined()
    expect(hashes[0]).toBe(hashes[1])
  })

  test('is in no export before the end, and in every one after it; both verifiers know that', async () => {
    const { runId } = await created()
    const before = await exportOf(runId)
    expect(before.report.findings).toEqual([])
    expect(before.text).not.toMatch(HIDDEN)
    expect(before.report).toMatchObject({ holds: true, complete: false, artifacts: 0, withheld: 1 })
    await end(runId)
    const after = await exportOf(runId)
    expect(after.text).toMatch(HIDDEN)
    expect(after.report).toMatchObject({ holds: true, complete: true, artifacts: 1, withheld: 0 })
    const without = await exportOf((await start({})).body.run_id)
    expect(without.report).toMatchObject({ holds: true, complete: false, withheld: 0 })
    if (isMissing('python3')) return
    expect([before.python?.holds, after.python?.holds]).toEqual([true, true])
  })

  test.each([
    ['the pointer to it', { seq: 0, pointer: '/config/accept', reason: 'a name of a person' }],
    [
      'a text of it that is in the run, too',
      { seq: 0, pointer: '/reason', reason: 'a name', secret: 'lily-by-the-pond' },
    ],
  ])('is removed by a redaction of %s, and its hash stays', async (_, wanted) => {
    const files = { 'accept.py': `# lily-by-the-pond\n${'x'.repeat(70_000)}` }
    const body = { accept: { files, command: 'true' }, reason: 'As lily-by-the-pond wants it' }
    const { runId, address, recorded } = await created(body)
    const redact = (more = {}) =>
      askAs('admin', `POST /api/runs/${runId}/redact`, { ...wanted, ...more })
    expect(await redact()).toMatchObject({
      status: 409,
      body: { type: expect.stringContaining('still_needed') },
    })
    await end(runId)
    // The check itself, or what else holds the text.
    const objects = wanted.pointer === '/config/accept' ? 0 : 1
    expect((await redact({ preview: true })).body).toMatchObject({ redaction: null, objects })
    expect((await askAs('viewer', address)).status).toBe(200)
    const done = await redact()
    expect(done).toMatchObject({ status: 200, body: { erased: true } })
    if (wanted.pointer === '/config/accept') {
      expect(done.body).toMatchObject({ artifact: recorded.sha256, pointers: [] })
      const { redaction } = done.body as { redaction?: number }
      expect((await redact()).body).toMatchObject({ redaction })
    } else {
      expect(done.body).toMatchObject({ artifact: null, pointers: ['/reason'] })
    }
    for (const role of ROLES) expect((await askAs(role, address)).status).toBe(404)
    const { text, report, python } = await exportOf(runId)
    expect(text.includes('lily-by-the-pond')).toBe(wanted.pointer === '/config/accept')
    expect(text).not.toContain('# lily')
    expect(text).toContain(recorded.sha256)
    expect(report).toMatchObject({ holds: true, artifacts: 0, redacted: { artifacts: 1 } })
    if (!isMissing('python3')) expect(python?.holds).toBe(true)
  })
})

describe('a request with a hidden check', () => {
  const fieldsOf = ({ body }: { readonly body: unknown }) =>
    (body as { errors: { field: string }[] }).errors.map(({ field }) => field)

  test.each([
    ['a path that leads out', { ...accept, files: { '../x': '' } }, 'accept.files.../x'],
    ['another field', { ...accept, feedback: true }, 'accept.feedback'],
    ['feedback about no check', undefined, 'accept_feedback'],
  ])('with %s is refused, and the answer names the field', async (_, wrong, field) => {
    const refused = await start(wrong ? { accept: wrong } : { accept_feedback: true })
    expect([refused.status, ...fieldsOf(refused)]).toEqual([422, field])
  })

  test('is refused if it holds a secret of the server, together with all else that is wrong', async () => {
    guardSecrets([{ name: 'A_KEY', value: 'tulip-in-the-cellar' }])
    const files = { 'a.txt': 'x', 'b.txt': 'it is tulip-in-the-cellar', 'tulip-in-the-cellar': '' }
    const body = { accept: { files, command: 'grep tulip-in-the-cellar a.txt' }, goal: 'win' }
    const refused = await start(body)
    expect(refused.text).not.toContain('tulip')
    expect(fieldsOf(refused)).toEqual([
      'goal',
      'accept.files.b.txt',
      'accept.files.[masked:A_KEY]',
      'accept.command',
    ])
  })

  test('may be large, which no other request may', async () => {
    const large = { files: { 'data.json': '"'.repeat(3 * 1024 * 1024) }, command: 'true' }
    const { recorded } = await created({ accept: large, accept_feedback: true })
    expect(recorded).toMatchObject({ files: 1, feedback: true })
    const tooLarge = await start({
      accept: { files: { a: '\u0001'.repeat(1_500_000) }, command: 'x' },
    })
    expect(tooLarge.status).toBe(413)
    const { runId } = await created()
    const text = 'x'.repeat(1_100_000)
    const message = await askAs('operator', `POST /api/runs/${runId}/messages`, { text })
    expect(message.status).toBe(413)
  })

  test('gives the same run if it is sent again, and is refused with another check', async () => {
    const headers = { 'idempotency-key': randomUUID() }
    const twins = await Promise.all([1, 2, 3].map(() => start({ accept }, headers)))
    expect(twins.map(({ status }) => status).sort()).toEqual([200, 200, 201])
    expect(new Set(twins.map(({ body }) => body.run_id)).size).toBe(1)
    const order = { command: ` ${COMMAND} `, files: accept.files }
    expect((await start({ accept: order }, headers)).status).toBe(200)
    for (const other of [
      {},
      { accept: { ...accept, command: 'true' } },
      { accept: { ...accept, files: {} } },
      { accept, accept_feedback: true },
    ]) {
      expect((await start(other, headers)).status).toBe(409)
    }
  })
})
