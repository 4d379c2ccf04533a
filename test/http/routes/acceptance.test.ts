import { randomUUID } from 'node:crypto'
import { Readable, Writable } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ROLES, type Role } from '../../../src/api/auth.ts'
import { unpacked } from '../../../src/audit/bundle/unpack.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import { readAcceptance } from '../../../src/log/acceptance.ts'
import { namesArtifact } from '../../../src/log/lineage.ts'
import { guardSecrets } from '../../../src/log/masking.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import { streamPages } from '../../../src/log/stream-pages.ts'
import { inPython } from '../../audit/python.ts'
import { isMissing } from '../../support/missing.ts'
import { CLAIM, iteration } from '../../support/server.ts'
import { bearer, type People, startWithPeople } from '../access/people.ts'

const CONTENT = 'assert add(2, 2) == 4  # orchid-on-the-sill\n'
const COMMAND = 'python3 hidden/test_marigold.py'
const accept = { files: { 'hidden/test_marigold.py': CONTENT }, command: COMMAND }
/** What nobody but an admin may see before the end. */
const HIDDEN = /orchid|marigold|add\(2/

let people: People
const logged: string[] = []
beforeAll(async () => {
  const lines = new Writable({
    write(chunk, _encoding, done) {
      logged.push(String(chunk))
      done()
    },
  })
  people = await startWithPeople({ logger: pino({ level: 'trace' }, lines), accessLog: {} })
})
afterAll(() => people.server.stop())

const ask = (role: Role, path: string, body?: object, headers: Record<string, string> = {}) =>
  fetch(`${people.server.url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      ...bearer(people.secrets[role]),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    body: body === undefined ? null : JSON.stringify(body),
  })

const start = (body: object, headers?: Record<string, string>) =>
  ask('operator', '/api/runs', { goal: 'pytest', ...body }, headers)

type Config = { readonly sha256: string; readonly files: number; readonly feedback?: true }

/** A run with a hidden check that has not ended. */
async function created(body: object = { accept }) {
  const answer = await start(body)
  expect(answer.status).toBe(201)
  const { run_id: runId } = (await answer.json()) as { run_id: string }
  await people.server.agentDoes(runId, CLAIM)
  const events = await (await ask('viewer', `/api/runs/${runId}/events?kinds=run_created`)).json()
  const [{ payload }] = events as [{ payload: { config: { accept: Config } } }]
  const { accept: recorded } = payload.config
  return { runId, recorded, address: `/api/runs/${runId}/artifacts/${recorded.sha256}` }
}

async function end(runId: string): Promise<void> {
  await people.server.agentDoes(runId, ...iteration(true))
  const { state } = people.server.readModel.get(runId) ?? {}
  await people.server.readModel.waitFor(runId, (state?.seq ?? 0) + 1, 5_000)
  await expect
    .poll(() => people.server.readModel.get(runId)?.state.phase.type, { timeout: 5_000 })
    .toBe('ended')
}

async function exportOf(runId: string) {
  const answer = await ask('auditor', `/api/runs/${runId}/export`)
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
      const answer = await ask(role, address)
      expect([role, answer.status]).toEqual([role, role === 'admin' ? 200 : 403])
      const text = await answer.text()
      if (role === 'admin') {
        expect(readAcceptance(Buffer.from(text), recorded.sha256)._unsafeUnwrap()).toEqual(accept)
        continue
      }
      expect(text).toContain('urn:retrai:problem:forbidden')
      expect(text).toContain(`only the role admin may read it, and yours is ${role}`)
      const known = await ask(role, address, undefined, { 'if-none-match': `"${recorded.sha256}"` })
      expect(known.status).toBe(403)
    }
    await end(runId)
    for (const role of ROLES) {
      const answer = await ask(role, address)
      expect([role, answer.status]).toEqual([role, 200])
      expect(await answer.text()).toMatch(HIDDEN)
    }
    const other = await created()
    expect(other.recorded.sha256).not.toBe(recorded.sha256)
    const elsewhere = await ask('admin', address.replace(runId, other.runId))
    expect(elsewhere.status).toBe(404)
  })

  test('is in no record, no answer about the run, and no line of the log', async () => {
    const key = randomUUID()
    const answer = await start({ accept, accept_feedback: true }, { 'idempotency-key': key })
    const { run_id: runId } = (await answer.json()) as { run_id: string }
    await people.server.agentDoes(runId, CLAIM)
    const answers = await Promise.all(
      ['', '/events?kinds=all', '/conversation', '/diff?from=0&to=1'].map(async (path) => {
        const found = await ask('viewer', `/api/runs/${runId}${path}`)
        expect([path, found.status]).toEqual([path, 200])
        return found.text()
      }),
    )
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
      expect(refused.status).toBe(422)
      expect(await refused.text()).not.toContain('add(2')
    }
    const broken = await fetch(`${people.server.url}/api/runs`, {
      method: 'POST',
      headers: { ...bearer(people.secrets.operator), 'content-type': 'application/json' },
      body: JSON.stringify({ accept }).slice(0, -9),
    })
    expect(broken.status).toBe(400)
    answers.push(await broken.text(), await (await ask('auditor', '/api/access')).text())
    for (const text of answers) expect(text).not.toMatch(HIDDEN)
    expect(logged.join('')).toContain('request completed')
    expect(logged.join('')).not.toMatch(HIDDEN)
    // Who knows all else of the request cannot try what the check is.
    const hashes = await Promise.all(
      [CONTENT, 'another'].map(async (content) => {
        const files = { 'accept.py': content }
        const made = await start(
          { accept: { files, command: COMMAND } },
          { 'idempotency-key': randomUUID() },
        )
        const { run_id } = (await made.json()) as { run_id: string }
        const events = await ask('viewer', `/api/runs/${run_id}/events?kinds=run_created`)
        return /"request_sha256":"([0-9a-f]{64})"/.exec(await events.text())?.[1]
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
    const { run_id: plain } = (await (await start({})).json()) as { run_id: string }
    const without = await exportOf(plain)
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
    const early = await ask('admin', `/api/runs/${runId}/redact`, wanted)
    expect([early.status, await early.text()]).toEqual([
      409,
      expect.stringContaining('still_needed'),
    ])
    await end(runId)
    const preview = await ask('admin', `/api/runs/${runId}/redact`, { ...wanted, preview: true })
    expect(await preview.json()).toMatchObject({ redaction: null })
    expect((await ask('viewer', address)).status).toBe(200)
    const redacted = await ask('admin', `/api/runs/${runId}/redact`, wanted)
    const done = (await redacted.json()) as { redaction: number; artifact: string | null }
    expect([redacted.status, done]).toMatchObject([200, { erased: true }])
    if (wanted.pointer === '/config/accept') {
      expect(done).toMatchObject({ artifact: recorded.sha256, pointers: [] })
      const again = await ask('admin', `/api/runs/${runId}/redact`, wanted)
      expect(await again.json()).toMatchObject({ redaction: done.redaction })
    } else {
      expect(done).toMatchObject({ artifact: null, pointers: ['/reason'] })
    }
    for (const role of ROLES) expect((await ask(role, address)).status).toBe(404)
    const { text, report, python } = await exportOf(runId)
    expect(text.includes('lily-by-the-pond')).toBe(wanted.pointer === '/config/accept')
    expect(text).not.toContain('# lily')
    expect(text).toContain(recorded.sha256)
    expect(report).toMatchObject({ holds: true, artifacts: 0, redacted: { artifacts: 1 } })
    if (!isMissing('python3')) expect(python?.holds).toBe(true)
  })
})

describe('a request with a hidden check', () => {
  const fields = async (body: object) => {
    const answer = await start(body)
    const { errors = [] } = (await answer.json()) as {
      errors?: { field: string; message: string }[]
    }
    return [answer.status, ...errors.map(({ field }) => field)]
  }

  test.each([
    [
      'a path that leads out',
      { accept: { ...accept, files: { '../x': '' } } },
      'accept.files.../x',
    ],
    ['no command', { accept: { files: {} } }, 'accept.command'],
    ['no files', { accept: { command: 'true' } }, 'accept.files'],
    ['another field', { accept: { ...accept, feedback: true } }, 'accept.feedback'],
    ['feedback about no check', { accept_feedback: true }, 'accept_feedback'],
    ['a content that is no text', { accept: { ...accept, files: { a: 1 } } }, 'accept.files.a'],
  ])('with %s is refused, and the answer names the field', async (_, body, field) => {
    expect(await fields(body)).toEqual([422, field])
  })

  test('is refused if it holds a secret of the server, together with all else that is wrong', async () => {
    guardSecrets([{ name: 'A_KEY', value: 'tulip-in-the-cellar' }])
    const files = { 'a.txt': 'x', 'b.txt': 'it is tulip-in-the-cellar', 'tulip-in-the-cellar': '' }
    const body = { accept: { files, command: 'grep tulip-in-the-cellar a.txt' }, goal: 'win' }
    const answer = await start(body)
    const text = await answer.text()
    expect(text).not.toContain('tulip')
    const { errors } = JSON.parse(text) as { errors: { field: string }[] }
    expect(errors.map(({ field }) => field)).toEqual([
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
    const message = await ask('operator', `/api/runs/${runId}/messages`, {
      text: 'x'.repeat(1_100_000),
    })
    expect(message.status).toBe(413)
  })

  test('gives the same run if it is sent again, and is refused with another check', async () => {
    const headers = { 'idempotency-key': randomUUID() }
    const twins = await Promise.all([1, 2, 3].map(() => start({ accept }, headers)))
    expect(twins.map(({ status }) => status).sort()).toEqual([200, 200, 201])
    const ids = await Promise.all(twins.map(async (twin) => (await twin.json()) as object))
    expect(new Set(ids.map((each) => (each as { run_id: string }).run_id)).size).toBe(1)
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
