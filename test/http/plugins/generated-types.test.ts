import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import openapiTS, { astToString } from 'openapi-typescript'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestServer } from '../support.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-types-'))
  const server = await startTestServer()
  const text = await (await fetch(`${server.url}/openapi.json`)).text()
  await server.stop()
  await writeFile(join(folder, 'api.ts'), astToString(await openapiTS(text, { silent: true })))
}, 60_000)
afterAll(() => rm(folder, { recursive: true }))

/** What TypeScript reports about a program that uses the generated types. */
async function compile(program: string): Promise<string[]> {
  const file = join(folder, 'program.ts')
  await writeFile(file, `import type { components, paths } from './api.ts'\n${program}`)
  const compiled = ts.createProgram([file], {
    strict: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    exactOptionalPropertyTypes: true,
    target: ts.ScriptTarget.ES2024,
    module: ts.ModuleKind.NodeNext,
    lib: ['lib.es2024.d.ts'],
    skipLibCheck: true,
    types: [],
  })
  return ts
    .getPreEmitDiagnostics(compiled)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))
}

const PROGRAM = `
type EventFrame = components['schemas']['EventFrame']
type Page = paths['/api/runs/{run_id}/events']['get']['responses'][200]['content']['application/json']
type FeedPage = paths['/api/events']['get']['responses'][200]['content']['application/json']

export function seen(event: EventFrame): string | number | null {
  switch (event.kind) {
    case 'tool_call': return event.payload.tool
    case 'tool_result': return event.payload.exit_code
    case 'goal_check': return event.payload.reason
    case 'run_created': return event.payload.config.goal
    case 'run_end': return event.payload.status satisfies 'achieved' | 'failed' | 'aborted'
    default: return event.seq
  }
}
export const all = (page: Page) => page.map(seen)
export const places = (page: FeedPage) =>
  page.map((event) => [event.cursor, event.kind === 'error' ? event.payload.message : ''])
`

describe('types that are generated from the description', () => {
  test('narrow the payload by kind', { timeout: 60_000 }, async () => {
    expect(await compile(PROGRAM)).toEqual([])
  })

  test('refuse a field of another kind', { timeout: 60_000 }, async () => {
    const wrong = PROGRAM.replace('event.payload.exit_code', 'event.payload.achieved')
    const refused = expect.stringContaining("'achieved' does not exist")
    expect(await compile(wrong)).toContainEqual(refused)
  })
})
