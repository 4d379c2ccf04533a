import { randomBytes } from 'node:crypto'
import { expect } from 'vitest'
import * as z from 'zod'
import { bash, Site, type SiteServer, until } from '../support/site.ts'
import { test as base } from '../support/test.ts'
import { refused } from './support.ts'

const Created = z.looseObject({
  config: z.looseObject({ accept: z.looseObject({ sha256: z.string() }).optional() }),
  instructions: z.string().optional(),
  origin: z.looseObject({ kind: z.string(), run_id: z.string(), seq: z.int() }).optional(),
})

async function createdOf(server: SiteServer, runId: string) {
  const { text } = await server.get(`/api/runs/${runId}/events?kinds=run_created`)
  const [{ payload }] = JSON.parse(text)
  return Created.parse(payload)
}

/** A check that the agent does not see. */
const ACCEPT = { files: { 'accept.sh': 'test -f done\n' }, command: 'bash accept.sh' }

/** A run that has ended, and whose agent was asked for something. */
async function endedRun(server: SiteServer, project: string, changes: object = {}) {
  const settings = { max_turns_per_iteration: 5, instructions: 'Water the orchid.', ...changes }
  const runId = await server.start(project, settings)
  await server.untilStatus(runId, 'achieved')
  return runId
}

/** `shared` is a server for all tests, whose model does what it is asked for, with a run that has ended. */
const test = base.extend(
  'shared',
  { scope: 'file' },
  async ({ serverOptions: _ }, { onCleanup }) => {
    const site = await Site.open()
    onCleanup(() => site.close())
    const model = await site.model(({ messages }) =>
      messages.at(-1)?.role === 'tool' ? { text: 'It is done.' } : bash('touch done'),
    )
    const server = await site.serve('data', { model })
    const changes = { accept: ACCEPT, accept_feedback: true, max_tokens: 9e5 }
    return { model, server, runId: await endedRun(server, 'project', changes) }
  },
)

test('retrai send starts a run that continues one that has ended, and their exports fit together', async ({
  shared: { server, model, runId },
  site,
}) => {
  const { code, stdout, stderr } = await server.retrai('send', runId.slice(0, 8), 'And the roses.')
  expect(code).toBe(0)
  const [, next = ''] = /^(\S+) running$/m.exec(stdout) ?? []
  expect(stderr).toContain(`another one continues it. To watch it: retrai watch ${next}`)
  await server.untilStatus(next, 'achieved')
  const said = JSON.stringify(model.requests.at(-1)?.messages)
  for (const words of ['Water the orchid.', 'It is done.', 'And the roses.']) {
    expect(said).toContain(words)
  }
  const { text } = await server.get(`/api/runs/${next}/conversation`)
  expect(text).toContain('Water the orchid.')
  const listed = await server.retrai('runs', '--limit', '2')
  expect(listed.stdout).toMatch(/BEGINS FROM +TITLE\n/)
  const short = (id: string) => id.slice(0, 8)
  expect(listed.stdout).toMatch(new RegExp(`\\n${short(next)} .* ${short(runId)} +And the roses`))
  expect((await server.retrai('show', next)).stdout).toMatch(/begins +from record/)
  const files = [runId, next].map((id) => site.path(`${id}.tar`))
  for (const [at, id] of [runId, next].entries()) {
    expect((await server.retrai('export', id, String(files[at]))).code).toBe(0)
  }
  const verified = await server.retrai('verify', ...files)
  expect(verified.stdout).toContain('Compared 1 run with the records from which they begin.')
  expect(verified.stdout).toContain('All 2 exports hold.')
  const alone = await server.retrai('verify', String(files[1]))
  expect(alone.stdout).toContain('from whose record')
  expect((await server.retrai('verify', '--server', server.url)).stdout).toContain('Compared 1 run')
})

test('retrai fork begins from a record', async ({ shared: { server, runId } }) => {
  const asked = ['--at', '4', '-m', 'Otherwise.', '--model', 'scripted-2', '--detach']
  const { code, stdout, stderr } = await server.retrai('fork', runId, ...asked)
  expect([code, stderr]).toEqual([0, expect.stringContaining('The run has started')])
  expect(await createdOf(server, stdout.trim())).toMatchObject({
    config: { model_name: 'scripted-2' },
    instructions: 'Otherwise.',
    origin: { kind: 'fork', run_id: runId, seq: 4 },
  })
  await server.untilStatus(stdout.trim(), 'achieved')
  const beyond = ['fork', runId, '--at', '9999', '--server', server.url]
  await refused(beyond, 'fork.at must be at most')
})

test('retrai again starts the same run from the beginning, with its hidden check', async ({
  shared: { server, runId },
}) => {
  const { code, stdout } = await server.retrai('again', runId, '--detach')
  expect(code).toBe(0)
  await server.untilStatus(stdout.trim(), 'achieved')
  const before = await createdOf(server, runId)
  const now = await createdOf(server, stdout.trim())
  const { accept: hidden, ...config } = now.config
  expect({ ...now, config }).toEqual({ ...before, config: { ...before.config, accept: undefined } })
  expect(hidden).toMatchObject({ files: 1, feedback: true })
  const { text } = await server.get(`/api/runs/${stdout.trim()}/artifacts/${hidden?.sha256}`)
  expect(JSON.parse(text)).toMatchObject(ACCEPT)
})

test('a text that is redacted in a run is not sent any more by one that begins from it', async ({
  shared: { server, model },
}) => {
  const secret = `orchid-${randomBytes(9).toString('hex')}`
  const runId = await endedRun(server, 'redacted', { instructions: `Water ${secret}.` })
  const check = { command: 'test -f never' }
  const { body } = await server.post('/api/runs', {
    continues: { run_id: runId },
    instructions: 'Continue.',
    check,
    hitl_enabled: true,
    max_iterations: 2,
  })
  const next = String(body.run_id)
  await server.untilStatus(next, 'awaiting_human')
  expect(JSON.stringify(model.requests.at(-1)?.messages)).toContain(secret)
  const asked = model.requests.length
  const redaction = { seq: 0, pointer: '/instructions', reason: 'a name', secret }
  expect((await server.post(`/api/runs/${runId}/redact`, redaction)).status).toBe(200)
  await server.post(`/api/runs/${next}/resume`, { decision: 'approve' })
  await until(
    () => model.requests.length,
    (count) => count > asked,
  )
  const said = JSON.stringify(model.requests.at(-1)?.messages)
  expect(said).not.toContain(secret)
  expect(said).toContain('Continue.')
  expect((await server.get(`/api/runs/${next}`)).body).toMatchObject({ origin_redacted: true })
  const { text } = await server.get(`/api/runs/${next}/conversation`)
  expect(text).not.toContain(secret)
})
