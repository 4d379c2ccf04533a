import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { Script } from '../../examples/scripted-model/script.ts'
import type { ScriptedModel } from '../../examples/scripted-model/server.ts'
import { FAKES, pem } from '../masking/fakes.ts'
import { runIn, Site, SiteServer } from '../support/site.ts'
import { cleanEnv, type Running, start } from './support.ts'

const [github = '', ghs = ''] = FAKES['github-token'] ?? []
const [aws = ''] = FAKES['aws-access-key'] ?? []
const [slack = ''] = FAKES['slack-token'] ?? []
const [stripe = ''] = FAKES['stripe-key'] ?? []
const [npm = ''] = FAKES['npm-token'] ?? []
const OWN = {
  RETRAI_LLM_API_KEY: 'Zq9/key+of.the=endpoint',
  OPENAI_API_KEY: 'Wx7-key-nobody-uses-4711',
  RETRAI_TOKEN: 'Token.of~the/operator+0815',
}
const KEY_LINES = pem('RSA ', 12)

/** All secrets, in all forms in which they could be written. */
const SECRETS = [
  github,
  ghs,
  aws,
  slack,
  stripe,
  npm,
  ...Object.values(OWN).flatMap((own) => [
    own,
    encodeURIComponent(own),
    Buffer.from(own).toString('base64').slice(0, -3),
  ]),
  KEY_LINES.split('\n')[1] ?? '',
]
/** The parts of the secrets: any larger piece of a secret contains one of them. */
const PARTS = SECRETS.flatMap((secret) => {
  const count = Math.floor(secret.length / 10)
  return Array.from({ length: count }, (_, at) => secret.slice(10 * at, 10 * at + 10))
})

/** Brings secrets into records in every possible way. */
const script: Script = [
  {
    text: `I found ${github}, and got ${OWN.RETRAI_LLM_API_KEY}.`,
    first: [
      { status: 500, body: { error: { message: `Incorrect key ${OWN.RETRAI_LLM_API_KEY}` } } },
      { status: 503, body: `<p>${'x'.repeat(280)}${OWN.RETRAI_LLM_API_KEY}</p>` },
    ],
    calls: [
      { tool: 'file_write', args: { path: 'made.txt', content: `${ghs}\n${KEY_LINES}\n` } },
      { tool: 'bash_exec', args: { command: `echo ${aws}; seq 9000; cat made.txt keys.txt` } },
      { tool: 'bash_exec', args: { command: `printf '${npm}' | wc -c` } },
      { tool: 'bash_exec', args: { command: 'true', [stripe]: stripe } },
      { tool: 'grep_search', args: { pattern: slack } },
      { tool: 'file_read', args: { path: 'keys.txt' } },
      { tool: stripe, args: {} },
    ],
  },
  { status: 401, body: { error: { message: `Wrong: ${OWN.RETRAI_LLM_API_KEY}` } } },
]

let site: Site
let model: ScriptedModel
let server: Running
let api: SiteServer
let runId: string
let seen: string[]

const read = async (path: string, headers = {}) => (await api.get(path, headers)).text

beforeAll(async () => {
  site = await Site.open()
  const cwd = site.path('project')
  const keys = `${github}\n${slack}\n${OWN.OPENAI_API_KEY}\n${KEY_LINES}\n`
  await site.write('project/keys.txt', keys)
  await site.write('project/check.sh', 'cat keys.txt; tail -c 2000 keys.txt | head -1 >&2; false\n')
  await site.write('project/.retrai.yml', 'check_command: bash check.sh\n')
  model = await site.model(script)
  server = start(['serve', '--port', '0', '--data-dir', site.path('data')], {
    ...cleanEnv(),
    ...OWN,
    RETRAI_LLM_BASE_URL: model.url,
    RETRAI_LOG_LEVEL: 'trace',
    RETRAI_CHECKPOINT_SECONDS: '1',
  })
  const [, url = ''] = await server.prints(/ready at (http[^\s"]+)/)
  const { child: process } = server
  api = new SiteServer(site, { url, process, stop: async () => {} }, OWN.RETRAI_TOKEN)
  const changes = { hitl_enabled: true, reason: `With ${slack}` }
  const wanted = { ...runIn(cwd, changes), max_iterations: undefined }
  const named = { 'idempotency-key': npm }
  runId = String((await api.post('/api/runs', wanted, named)).body.run_id)
  // The idempotency key still works, although it is masked in the log.
  expect((await api.post('/api/runs', wanted, named)).body.run_id).toBe(runId)
  await api.untilStatus(runId, 'awaiting_human')
  const reason = `Use ${aws} or ${btoa(OWN.RETRAI_TOKEN)}`
  for (const [method, path, body] of [
    ['PATCH', '/config', { max_iterations: 7, reason: `As ${OWN.OPENAI_API_KEY} says` }],
    ['POST', '/resume', { decision: 'approve', reason }],
  ] as const) {
    expect((await api.ask(method, `/api/runs/${runId}${path}`, body)).status).toBe(200)
  }
  await api.untilStatus(runId, 'failed')
  const redaction = { seq: 0, pointer: '/reason', reason: github }
  expect((await api.post(`/api/runs/${runId}/redact`, redaction)).status).toBe(200)
  seen = await everythingThatIsServed()
  await api.get(`/api/runs?goal=${github}`)
  await fetch(`${url}/nowhere/${github}?x=${encodeURIComponent(OWN.RETRAI_TOKEN)}`)
  server.child.kill('SIGTERM')
  await server.exit
}, 60_000)

afterAll(async () => {
  server?.child.kill('SIGKILL')
  await site.close()
})

/** The answers of all GET routes in the description of the server. */
async function everythingThatIsServed(): Promise<string[]> {
  const { paths } = z
    .object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) })
    .parse(JSON.parse(await read('/openapi.json')))
  const records = await read(`/api/runs/${runId}/events?kinds=all&limit=1000`)
  const artifacts = [...records.matchAll(/"sha256":"([0-9a-f]{64})"/g)].map(([, sha256]) => sha256)
  expect(artifacts.length).toBeGreaterThan(0)
  const ledgers = [...(await read('/api/ledgers')).matchAll(/"name":"([\w-]+)"/g)]
  const fill = (path: string): string[] => {
    const filled = path.replace('{run_id}', runId).replace('{number}', 'latest')
    if (filled.includes('/ws') || path === '/openapi.json') return []
    if (filled.includes('{sha256}'))
      return artifacts.map((id) => filled.replace('{sha256}', id ?? ''))
    if (filled.includes('{name}'))
      return ledgers.map(([, name]) => filled.replace('{name}', name ?? ''))
    if (filled.endsWith('/diff')) return [`${filled}?from=0&to=20`]
    if (filled.endsWith('/events')) return [`${filled}?kinds=all`, `${filled}?kinds=all&meta=true`]
    return [filled]
  }
  const asked = Object.entries(paths).flatMap(([path, methods]) =>
    'get' in methods ? fill(path) : [],
  )
  expect(asked.length).toBeGreaterThan(15)
  const answers = await Promise.all(
    asked.map((path) =>
      read(path, path.startsWith('/api/events') ? { accept: 'application/x-ndjson' } : {}),
    ),
  )
  return [records, ...answers]
}

async function filesBelow(path: string): Promise<[name: string, content: Buffer][]> {
  const entries = await readdir(path, { withFileTypes: true, recursive: true })
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
  return Promise.all(files.map(async (file) => [file, await readFile(file)] as [string, Buffer]))
}

const found = (text: string | Buffer): string[] => PARTS.filter((part) => text.includes(part))

describe('a secret does not appear', () => {
  test('in the files of the server', async () => {
    const files = await filesBelow(site.path('data'))
    const names = files.map(([name]) => name).join('\n')
    for (const kept of ['log.sqlite', 'read-model.sqlite', 'artifacts'])
      expect(names).toContain(kept)
    for (const [name, content] of files) expect(found(content), name).toEqual([])
  })

  test('in its answers', () => {
    for (const answer of seen) expect(found(answer), answer.slice(0, 2_000)).toEqual([])
  })

  test('in its output', () => {
    expect(server.stdout).toContain('/nowhere/[masked:github-token]?x=[masked:RETRAI_TOKEN]')
    expect(found(server.stdout)).toEqual([])
    expect(found(server.stderr)).toEqual([])
  })

  test('in the requests to the model, except for its own key in the header', () => {
    for (const { messages, headers } of model.requests) {
      expect(found(JSON.stringify(messages))).toEqual([])
      expect(headers.authorization).toBe(`Bearer ${OWN.RETRAI_LLM_API_KEY}`)
    }
  })
})

test('the mask replaces it, and names what it was', () => {
  const [records = ''] = seen
  for (const kind of [
    'github-token',
    'aws-access-key',
    'slack-token',
    'stripe-key',
    'npm-token',
    'private-key',
    ...Object.keys(OWN),
  ]) {
    expect(records).toContain(`[masked:${kind}]`)
  }
  for (const kind of ['llm_retry', 'goal_check', 'error', 'run_end', 'human_check_response']) {
    const lines = JSON.parse(records).filter((event: { kind: string }) => event.kind === kind)
    expect(JSON.stringify(lines), kind).toContain('[masked:')
  }
})

test('the tools worked with the real secrets', async () => {
  const made = await readFile(site.path('project', 'made.txt'), 'utf8')
  expect(made).toBe(`${ghs}\n${KEY_LINES}\n`)
  expect(found(made).length).toBeGreaterThan(4)
  expect(seen[0]).toContain(`"output":"${npm.length}\\n"`)
})
