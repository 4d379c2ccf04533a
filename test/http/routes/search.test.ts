import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import * as z from 'zod'
import { SearchResults } from '../../../src/api/search.ts'
import { ask } from '../../support/requests.ts'
import {
  CLAIM,
  iteration,
  logger,
  replyWith,
  resultOf,
  type TestServer,
} from '../../support/server.ts'
import { test } from '../../support/test.ts'

const search = async (server: TestServer, query: Record<string, string>): Promise<SearchResults> =>
  SearchResults.parse((await ask(server, `GET /api/search?${new URLSearchParams(query)}`)).body)

const places = ({ results }: SearchResults) => results.map(({ run_id, seq }) => [run_id, seq])

/** Two runs that say, call and print something. */
async function twoRuns(server: TestServer): Promise<readonly [older: string, newer: string]> {
  const runs: string[] = []
  for (const instructions of ['Paint the parser\nof Zürich', 'Paint the <b>printer</b>']) {
    const runId = await server.createRun({ instructions })
    const args = { command: 'cat parser.ts' }
    const result = { output: `${'x '.repeat(200)}\u001b[31mTypeError\u001b[0m in the parser` }
    await server.agentDoes(
      runId,
      CLAIM,
      replyWith([{ call_id: 'a', tool: 'bash_exec', args }]),
      resultOf('a', 'bash_exec', result),
      ...iteration(true).slice(1),
    )
    runs.push(runId)
  }
  await expect.poll(async () => (await search(server, { q: 'paint' })).results.length).toBe(2)
  await expect.poll(async () => (await search(server, { q: 'tests' })).behind).toBe(0)
  return [runs[0] ?? '', runs[1] ?? '']
}

test('words are found in what was said, called and printed, in all runs or in one; a search that cannot be carried out says why', async ({
  startServer,
}) => {
  const server = await startServer({ indexed: true })
  const [older, newer] = await twoRuns(server)
  const all = await search(server, { q: 'PARSER' })
  expect(all.results.map(({ run_id, kind }) => [run_id, kind])).toEqual([
    [newer, 'tool_call'],
    [newer, 'tool_result'],
    [older, 'run_created'],
    [older, 'tool_call'],
    [older, 'tool_result'],
  ])
  for (const { snippet } of all.results) {
    const marked = snippet.marks.map(([from, to]) => snippet.text.slice(from, to).toLowerCase())
    expect(marked).toEqual(['parser'])
    expect(snippet.text.length).toBeLessThan(203)
  }
  const [found] = (await search(server, { q: 'parser typeer', run_id: older })).results
  expect(found).toMatchObject({ run_id: older, title: 'Paint the parser', kind: 'tool_result' })
  expect(found?.snippet.text).toMatch(/^….*TypeError in the parser$/)
  expect(places(await search(server, { q: 'zurich' }))).toEqual([[older, 0]])
  expect(places(await search(server, { q: '"the parser"', kinds: 'run_created' }))).toEqual([
    [older, 0],
  ])
  expect(places(await search(server, { q: '"parser the"' }))).toEqual([])
  const pages: unknown[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const query = { q: 'parser', limit: '2', ...(cursor && { cursor }) }
    const page: SearchResults = await search(server, query)
    pages.push(...places(page))
    cursor = page.next
  }
  expect(pages).toEqual(places(all))

  for (const [query, detail] of [
    [{}, 'q is required.'],
    [{ q: '' }, 'q must have a word to search for: letters or digits.'],
    [{ q: '"-*' }, 'q must have a word to search for: letters or digits.'],
    [{ q: 'a '.repeat(33) }, 'q must have at most 32 words, and has 33.'],
    [{ q: 'a', run_id: 'x' }, 'run_id must be a UUID.'],
    [{ q: 'a', cursor: 'x' }, 'cursor must be `next` of an earlier page.'],
  ] as const) {
    const asked = new URLSearchParams(Object.entries(query))
    const refused = await ask(server, `GET /api/search?${asked}`)
    expect([refused.status, refused.body.detail]).toEqual([422, detail])
  }
})

test('a redacted word is found no more, and is in no file', async ({ startServer }) => {
  const server = await startServer({ indexed: true })
  const [older] = await twoRuns(server)
  const [at] = (await search(server, { q: 'zurich' })).results
  const filesWith = async (word: string): Promise<string[]> => {
    const folder = dirname(server.keys)
    const names = (await readdir(folder)).filter((name) => name.startsWith('search.sqlite'))
    const files = names.map(async (name) => [name, await readFile(join(folder, name), 'latin1')])
    return (await Promise.all(files)).flatMap(([name = '', text]) =>
      text?.includes(word) ? [name] : [],
    )
  }
  expect(await filesWith('zurich')).not.toEqual([])
  const body = { seq: at?.seq, pointer: '/instructions', reason: 'a place' }
  const done = await ask(server, `POST /api/runs/${older}/redact`, body)
  expect(done.body).toMatchObject({ pointers: ['/instructions'] })
  expect((await search(server, { q: 'zurich' })).results).toEqual([])
  expect(await filesWith('zurich')).toEqual([])
  // The index is rebuilt.
  await expect
    .poll(async () => places(await search(server, { q: 'redacted' })))
    .toEqual([[older, 0]])
})

test('what is searched for is in the access log as a hash, and in no other log', async ({
  startServer,
}) => {
  const log = logger('trace')
  const accessLog = { flushMs: 10 }
  const server = await startServer({ indexed: true, accessLog, logger: log.logger })
  const [older] = await twoRuns(server)
  await search(server, { q: 'tulip "daffodil', run_id: older })
  await ask(server, 'GET /api/search?q=tulip&limit=0')
  await ask(server, 'GET /api/runs?q=tulip')
  const accesses = async () =>
    z
      .array(z.looseObject({ kind: z.string(), payload: z.looseObject({ asked: z.string() }) }))
      .parse((await ask(server, 'GET /api/access?limit=500')).body)
  const searched = async () =>
    (await accesses()).filter(({ kind, payload }) => kind === 'searched' && payload.run_id !== null)
  await expect.poll(async () => (await searched()).length).toBe(1)
  const [entry] = await searched()
  expect(entry?.payload).toMatchObject({ operation: 'search', run_id: older })
  expect(entry?.payload.asked).toMatch(/^q=[0-9a-f]{32}&run_id=/)
  expect(JSON.stringify(await accesses())).not.toMatch(/tulip|daffodil/)
  expect(log.written()).toContain('/api/search?q=[removed]')
  expect(log.written()).not.toMatch(/tulip|daffodil/)
})
